"""Scenarios for the twin's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aigrid.twin.scenario import Scenario, scenario_from_dict

SCENARIOS = Path(__file__).parents[2] / "scenarios"
CHAT = {"name": "chat", "version": "1"}
# A cell that fills a core when it is full, and is idle until something surges.
LARGE_CELL = {"name": "c", "resource_blocks": 104, "antennas": 3}
TOWERS = [
    {"name": "hub", "kind": "hub", "region": "r", "compute_cores": 2.0},
    *(
        {
            "name": name,
            "kind": "tower",
            "region": "r",
            "parent": "hub",
            "cells": [LARGE_CELL],
            "profile": {"kind": "constant", "load": 0.0},
        }
        for name in ("t1", "t2")
    ),
]


def city(**changes: Any) -> Scenario:
    """A hub and two towers that serve `chat`, and whatever `changes` say."""
    raw: dict[str, Any] = {
        "name": "city",
        "sites": TOWERS,
        "packages": [CHAT],
        "deployments": [{"deploy": "chat:1"}],
    }
    return scenario_from_dict(raw | changes, "test", SCENARIOS)
