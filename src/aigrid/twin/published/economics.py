"""The announced economics of a base station that sells AI: both readings of revenue and return."""

from __future__ import annotations

from aigrid.twin.country.scenario import Money
from aigrid.twin.models import calibration, money, roofline, shapes
from aigrid.twin.models.devices import at_bits, known
from aigrid.twin.models.money import HOURS_A_YEAR, Books
from aigrid.twin.published.inputs import Inputs


def compute(inputs: Inputs) -> dict[str, float]:
    """A server's speed, revenue and return.

    AI gets a part of the server; it is sold out all the time (`full`), or only at the hour when
    most is asked for (`daily`). Return is revenue over all costs, less one.

    Revenue is that of the announced price an hour; the roofline's tokens stand beside it.

    Returns:
        `tokens_per_s` and `generated_per_s`: prompt and answer, and answer alone, by the roofline;
        `usd_per_hour`: the announced tokens at the announced price; `sold_%`: part of the server
        that must be sold to make the announced revenue; `revenue_per_capital:S:PART` and
        `return_%:READING:S:PART` for S of `full` and `daily`, readings `whole` and `marginal`, and
        PART `ai` and `radio` (heavy).
    """
    each = _requests_per_s(inputs)
    prompt, generated = inputs.number("prompt_tokens"), inputs.number("generated_tokens")
    hourly = inputs.number("announced_usd_per_hour")
    life = inputs.number("life_years")
    most = hourly * HOURS_A_YEAR * life / inputs.number("server_usd")
    demand = shapes.demand_shape(inputs.text("demand_shape"))
    sold = {"full": 1.0, "daily": float(demand.mean() / demand.max())}
    found = {
        "tokens_per_s": each * (prompt + generated),
        "generated_per_s": each * generated,
        "usd_per_hour": inputs.number("announced_tokens_per_s")
        * 3600.0
        / 1e6
        * inputs.number("usd_per_m_tokens"),
        "sold_%": 100.0 * inputs.number("announced_revenue_per_capital") / most,
    }
    parts = {"ai": inputs.number("ai_part_ai_heavy"), "radio": inputs.number("ai_part_radio_heavy")}
    for name, part in sold.items():
        for weight, ai in parts.items():
            whole = _books(inputs, hourly * ai * part, ai * part, False)
            added = _books(inputs, hourly * ai * part, ai * part, True)
            found[f"revenue_per_capital:{name}:{weight}"] = whole.revenue_per_capital
            found[f"return_%:whole:{name}:{weight}"] = _return(whole)
            found[f"return_%:marginal:{name}:{weight}"] = _return(added)
    return found


def _requests_per_s(inputs: Inputs) -> float:
    bits, devices = int(inputs.number("bits")), inputs.number("devices")
    prompt, generated = inputs.number("prompt_tokens"), inputs.number("generated_tokens")
    service = calibration.known_service(
        inputs.text("model"), bits, int(prompt), int(generated), int(inputs.number("max_batch"))
    )
    cost = roofline.service_cost(service, at_bits(known(inputs.text("device")), bits))
    return devices / cost.work_s


def _books(inputs: Inputs, usd_per_hour: float, use: float, marginal: bool) -> Books:
    prices = Money(
        usd_per_kwh=inputs.number("usd_per_kwh"),
        pue=inputs.number("pue"),
        life_years=inputs.number("life_years"),
        upkeep=inputs.number("upkeep"),
        radio_only_tower_usd=inputs.number("radio_only_usd"),
        radio_usd_per_customer_year=0.0,
    )
    peak, idle = inputs.number("server_w"), inputs.number("server_idle_w")
    capital, revenue = inputs.number("server_usd"), usd_per_hour * 24.0
    kwh = money.energy_kwh(idle + (peak - idle) * use, 24.0, prices.pue)
    idle_kwh = money.energy_kwh(idle, 24.0, prices.pue)
    if marginal:
        return money.marginal(
            prices,
            capital_usd=capital,
            radio_towers=1.0,
            kwh_a_day=kwh,
            kwh_a_day_radio_only=idle_kwh,
            revenue_usd_a_day=revenue,
            tokens_a_day=0.0,
        )
    return money.whole_site(
        prices,
        capital_usd=capital,
        kwh_a_day=kwh,
        revenue_usd_a_day=revenue,
        tokens_a_day=0.0,
        customers=0.0,
    )


def _return(book: Books) -> float:
    return 100.0 * (book.ai_revenue_usd / book.cost_usd - 1.0)
