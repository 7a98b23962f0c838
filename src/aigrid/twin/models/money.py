"""Energy and money, in two readings.

Whole site: all capital, energy and upkeep stand against AI and radio revenue, as if the site were
built for both. Marginal: the site stands anyway for its radio, and AI pays for what it adds, which
is capital beyond a computer that does the radio alone, and the energy of its use. Public claims use
one or the other, which explains much of their spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.twin.country.scenario import Money
from aigrid.twin.models.device import Device

HOURS_A_YEAR = 8766.0
DAYS_A_YEAR = 365.25


def power_w(
    device: Device, devices: NDArray[np.float64] | float, use: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Drawn by `devices` at a mean use of 0 to 1: idle plus slope times use.

    The linear model of Fan, Weber and Barroso, "Power Provisioning for a Warehouse-sized
    Computer", ISCA 2007, section 4.
    """
    each = device.idle_w + (device.peak_w - device.idle_w) * np.asarray(use, np.float64)
    return np.asarray(devices, np.float64) * each


def energy_kwh(watts: NDArray[np.float64] | float, hours: float, pue: float) -> float:
    """Energy of a whole site: that of its computers times PUE (ISO/IEC 30134-2)."""
    return float(np.sum(watts)) * hours * pue / 1e3


def capital_a_year(capital_usd: float, money: Money) -> float:
    """Written off in equal parts over its life, and its upkeep; interest is left out."""
    return capital_usd * (1.0 / money.life_years + money.upkeep)


@dataclass(frozen=True, slots=True)
class Books:
    """A year of one reading, in USD.

    Attributes:
        capital_usd: what was spent, once.
        capital_a_year_usd: its write-off and upkeep.
        energy_usd: a year's.
        ai_revenue_usd: a year's.
        radio_revenue_usd: a year's; 0 where the reading leaves it out.
        tokens: served in a year.
        life_years: of the capital.
    """

    capital_usd: float
    capital_a_year_usd: float
    energy_usd: float
    ai_revenue_usd: float
    radio_revenue_usd: float
    tokens: float
    life_years: float

    @property
    def cost_usd(self) -> float:
        """Of a year."""
        return self.capital_a_year_usd + self.energy_usd

    @property
    def cost_per_mtok_usd(self) -> float:
        """For a million tokens; infinite where there are none."""
        return self.cost_usd / self.tokens * 1e6 if self.tokens > 0 else float("inf")

    @property
    def revenue_per_capital(self) -> float:
        """AI revenue over the capital's life for a USD of it; 0 where nothing was spent."""
        revenue = self.ai_revenue_usd * self.life_years
        return revenue / self.capital_usd if self.capital_usd > 0 else 0.0

    @property
    def return_on_capital(self) -> float:
        """(Revenue - cost) over the life, as a share of capital; 0 where nothing was spent."""
        profit = self.ai_revenue_usd + self.radio_revenue_usd - self.cost_usd
        return profit * self.life_years / self.capital_usd if self.capital_usd > 0 else 0.0

    def lines(self, reading: str) -> dict[str, float]:
        """For a table: `READING:line` to USD a year, or a ratio."""
        names = ("capital_usd", "capital_a_year_usd", "energy_usd", "ai_revenue_usd")
        more = ("radio_revenue_usd", "cost_per_mtok_usd", "revenue_per_capital")
        return {f"{reading}:{n}": float(getattr(self, n)) for n in (*names, *more)} | {
            f"{reading}:return_on_capital": self.return_on_capital
        }


def whole_site(
    money: Money,
    *,
    capital_usd: float,
    kwh_a_day: float,
    revenue_usd_a_day: float,
    tokens_a_day: float,
    customers: float,
) -> Books:
    """All that was built against all that it earns.

    Args:
        money: prices.
        capital_usd: of every computer.
        kwh_a_day: of every site, radio and AI.
        revenue_usd_a_day: from tokens.
        tokens_a_day: served.
        customers: of the radio.
    """
    return Books(
        capital_usd,
        capital_a_year(capital_usd, money),
        kwh_a_day * DAYS_A_YEAR * money.usd_per_kwh,
        revenue_usd_a_day * DAYS_A_YEAR,
        customers * money.radio_usd_per_customer_year,
        tokens_a_day * DAYS_A_YEAR,
        money.life_years,
    )


def marginal(
    money: Money,
    *,
    capital_usd: float,
    radio_towers: float,
    kwh_a_day: float,
    kwh_a_day_radio_only: float,
    revenue_usd_a_day: float,
    tokens_a_day: float,
) -> Books:
    """What AI adds to sites that stand anyway.

    Args:
        money: prices.
        capital_usd: of every computer.
        radio_towers: towers that would have a computer for the radio alone.
        kwh_a_day: of every site, radio and AI.
        kwh_a_day_radio_only: of the sites that stand anyway, with the radio alone.
        revenue_usd_a_day: from tokens.
        tokens_a_day: served.
    """
    added = max(capital_usd - radio_towers * money.radio_only_tower_usd, 0.0)
    return Books(
        added,
        capital_a_year(added, money),
        max(kwh_a_day - kwh_a_day_radio_only, 0.0) * DAYS_A_YEAR * money.usd_per_kwh,
        revenue_usd_a_day * DAYS_A_YEAR,
        0.0,
        tokens_a_day * DAYS_A_YEAR,
        money.life_years,
    )


def request_value_usd(
    prompt_tokens: float, generated_tokens: float, prices: tuple[float, float]
) -> float:
    """Price of a request.

    Args:
        prompt_tokens: of it.
        generated_tokens: of it.
        prices: USD for a million prompt tokens, and for a million generated ones.
    """
    return (prompt_tokens * prices[0] + generated_tokens * prices[1]) / 1e6
