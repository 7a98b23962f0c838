"""How much of a radio site's computer the radio uses: it is built for every cell's peak at once."""

from __future__ import annotations

import numpy as np

from aigrid.twin.models import shapes
from aigrid.twin.models.slots import site_compute_for_radio
from aigrid.twin.published.inputs import Inputs
from aigrid.twin.published.reclaim import radio_of


def compute(inputs: Inputs) -> dict[str, float]:
    """Mean use over a day.

    Returns:
        `mean_%`: of sites of the shapes given, in equal numbers; `measured_%`: of a site whose
        cells have the mean load of the measured one.
    """
    radio = radio_of(inputs)
    size = float(site_compute_for_radio(radio, 1))
    days = [shapes.radio_shape(name) for name in inputs.texts("shapes")]
    load = inputs.number("peak_load") * float(np.mean(days))
    measured = inputs.number("measured_mean_load")
    return {
        "mean_%": 100.0 * (radio.fixed + radio.per_load * load) / size,
        "measured_%": 100.0 * (radio.fixed + radio.per_load * measured) / size,
    }
