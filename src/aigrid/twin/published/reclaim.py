"""Idle compute of a radio site that can be sold while all but one in 100,000 slots are on time.

Spatial sharing keeps, minute by minute, the quantile of need given the mean load, and sells the
rest. Temporal sharing knows each slot's schedule as it begins, keeps what it needs and a margin for
wrong predictions, and loses the time that making way takes.
"""

from __future__ import annotations

import numpy as np

from aigrid.twin.country.scenario import RadioModel
from aigrid.twin.models import shapes
from aigrid.twin.models.slot_kernels import miss_at, quantile_need
from aigrid.twin.models.slots import need_table, site_compute_for_radio
from aigrid.twin.published.inputs import Inputs

_BINS = 1024


def compute(inputs: Inputs) -> dict[str, float]:
    """Reclaimed idle compute over a day, and slots missed.

    Returns:
        `idle_%`: of the site's compute, without AI; `spatial_%` and `temporal_%`: part of that
        which is sold; `spatial_late` and `temporal_late`: of a million slots.
    """
    radio = radio_of(inputs)
    cells = int(inputs.number("cells"))
    size = float(site_compute_for_radio(radio, cells))
    load = inputs.number("peak_load") * shapes.radio_shape(inputs.text("shape"))
    table = need_table(radio, cells, _BINS)
    shape = (radio.fixed, radio.per_load, radio.burstiness)
    kept = np.array([quantile_need(table.busy, cells, u, *shape) for u in load])
    missed = np.array(
        [miss_at(table.survival, cells, u, k, *shape) for u, k in zip(load, kept, strict=True)]
    )
    mean = cells * (radio.fixed + radio.per_load * load)
    idle = float((size - mean).mean())
    away = inputs.number("preemption_us") / 1e3
    left = size * (1.0 - away / radio.deadline_ms)
    late = np.array([miss_at(table.survival, cells, u, left, *shape) for u in load])
    # Each slot AI makes way once, and what was predicted is kept with its margin.
    sold = size * (1.0 - away / radio.slot_ms) - mean * (1.0 + inputs.number("margin"))
    return {
        "idle_%": 100.0 * idle / size,
        "spatial_%": 100.0 * float((size - kept).mean()) / idle,
        "temporal_%": 100.0 * float(np.maximum(sold, 0.0).mean()) / idle,
        "spatial_late": 1e6 * float(missed.mean()),
        "temporal_late": 1e6 * float(late.mean()),
    }


def radio_of(inputs: Inputs) -> RadioModel:
    """Need of compute of a site's radio, in units of a full cell."""
    return RadioModel(
        slot_ms=inputs.number("slot_ms"),
        deadline_ms=inputs.number("deadline_ms"),
        fixed=inputs.number("fixed_part"),
        per_load=1.0 - inputs.number("fixed_part"),
        burstiness=inputs.number("burstiness"),
        spread=0.0,
        memory=0.0,
        headroom=inputs.number("headroom"),
    )
