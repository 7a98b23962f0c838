"""Need of compute of a site's radio in one slot, as a distribution given its mean load.

A cell's slot is one of two: busy with probability u (the mean load), filled to u + b(1 - u), or
idle, filled to u(1 - b); b is the burstiness. That is the mixture of `radio.profile`.
With `fixed` and `per_load` devices a cell, and k of n independent cells busy,

    need(k) = n * (fixed + per_load * u * (1 - b)) + k * per_load * b,    k ~ Binomial(n, u)

so that the mean is n * (fixed + per_load * u), and what the 1 - 1e-5 quantile has above it shrinks,
relative to the mean, about as 1 / sqrt(n). That need is a part for each cell and a part that grows
with the scheduled blocks is what Nikaein, "Processing Radio Access Network Functions in the Cloud",
Mobile Cloud Computing and Services 2015, measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aigrid.core.errors import ConfigurationError
from aigrid.twin.country.scenario import RadioModel
from aigrid.twin.models.slot_kernels import busy_quantile, need_of, survival_of

MISS_PROBABILITY = 1e-5
# Of a cell's state from one slot to the next, as `radio.profile` has it by default.
SLOT_CORRELATION = 0.5


@dataclass(frozen=True, slots=True)
class NeedTable:
    """Need of compute by number of cells and mean load, for kernels to look up.

    Row n is for n cells, column j for a mean load of j / load_bins. Units are devices.

    Attributes:
        load_bins: steps of the load; arrays have load_bins + 1 columns.
        probability: of a slot above the quantile.
        mean: (cells_max + 1, load_bins + 1) float64.
        quantile: (cells_max + 1, load_bins + 1) float64, of one slot.
        sustained: (cells_max + 1, load_bins + 1) float64, quantile of the mean over a guard period.
        busy: (cells_max + 1, load_bins + 1) int16, the quantile as a number of busy cells.
        survival: (cells_max + 1, load_bins + 1, cells_max + 1) float64, P(more than k cells busy).
    """

    load_bins: int
    probability: float
    mean: NDArray[np.float64]
    quantile: NDArray[np.float64]
    sustained: NDArray[np.float64]
    busy: NDArray[np.int16]
    survival: NDArray[np.float64]


def site_compute_for_radio(
    radio: RadioModel, cells: NDArray[np.integer] | int
) -> NDArray[np.float64]:
    """Devices that a site is sized with for its radio: all cells full at once, and the headroom.

    Args:
        radio: need of compute.
        cells: of each site, any shape.

    Returns:
        devices, of that shape.
    """
    size = np.asarray(cells, np.float64) * (radio.fixed + radio.per_load) * (1.0 + radio.headroom)
    return np.asarray(size, np.float64)


def independent_slots(slots: int, correlation: float) -> float:
    """How many independent slots have a mean with the same variance as `slots` correlated ones.

    The two-state chain has the autocorrelation c^k, as an AR(1) process; the variance of its mean
    over m slots is that of one, times (1 + 2 * sum over k of (1 - k/m) c^k) / m (Box, Jenkins and
    Reinsel, "Time Series Analysis", section 2.1).

    Args:
        slots: m, 1 or more.
        correlation: c of consecutive slots, 0 to below 1.
    """
    lag = np.arange(1, slots)
    growth = 1.0 + 2.0 * float(((1.0 - lag / slots) * correlation**lag).sum())
    return slots / growth


def need_table(
    radio: RadioModel,
    cells_max: int,
    load_bins: int = 256,
    *,
    probability: float = MISS_PROBABILITY,
    guard_slots: int = 1000,
    correlation: float = SLOT_CORRELATION,
) -> NeedTable:
    """Tabulate the need of sites with up to `cells_max` cells.

    Args:
        radio: need of compute.
        cells_max: most cells of a site, 1 to 1000.
        load_bins: steps of the mean load from 0 to 1, 1 to 4096.
        probability: that a slot is above `quantile`, and a guard period's mean above `sustained`.
        guard_slots: slots of a guard period, over which AI that makes way slot by slot has what
            the radio's mean leaves.
        correlation: of a cell's state from one slot to the next.

    Raises:
        ConfigurationError: a size or probability out of range.
    """
    _check(cells_max, load_bins, probability)
    shape = (cells_max + 1, load_bins + 1)
    cells = np.arange(cells_max + 1)[:, None]
    load = np.linspace(0.0, 1.0, load_bins + 1)[None, :]
    mean = cells * (radio.fixed + radio.per_load * load)
    survival = np.zeros((*shape, cells_max + 1))
    busy = np.zeros(shape, np.int16)
    survival_of(load[0], survival)
    busy_quantile(survival, probability, busy)
    quantile = np.zeros(shape)
    need_of(load[0], busy, radio.fixed, radio.per_load, radio.burstiness, quantile)
    sustained = np.minimum(
        quantile,
        _sustained(
            radio, cells_max, load[0], probability, independent_slots(guard_slots, correlation)
        ),
    )
    return NeedTable(load_bins, probability, mean, quantile, sustained, busy, survival)


def _sustained(
    radio: RadioModel, cells_max: int, load: NDArray[np.float64], probability: float, slots: float
) -> NDArray[np.float64]:
    # The mean over s independent slots of n cells is Binomial(n * s, u) / s cells.
    from scipy.stats import binom

    cells = np.arange(cells_max + 1)[:, None]
    trials = np.rint(cells * slots)
    busy = np.where(trials > 0, binom.isf(probability, trials, load[None, :]), 0.0) / slots
    base = cells * (radio.fixed + radio.per_load * load * (1.0 - radio.burstiness))
    need: NDArray[np.float64] = base + busy * radio.per_load * radio.burstiness
    return need


def _check(cells_max: int, load_bins: int, probability: float) -> None:
    if not 1 <= cells_max <= 1000:
        raise ConfigurationError(
            f"a need table for {cells_max!r} cells a site", next_step="give 1 to 1000"
        )
    if not 1 <= load_bins <= 4096:
        raise ConfigurationError(
            f"a need table with {load_bins!r} steps of load", next_step="give 1 to 4096"
        )
    if not 0.0 < probability < 1.0:
        raise ConfigurationError(
            f"a need table for a miss probability of {probability!r}",
            next_step="give one above 0 and below 1, such as 1e-5",
        )
