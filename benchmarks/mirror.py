"""Recorded runs predicted by the twin: how many of them within its aim, and how far off each is.

Each run is a grid of three sites on this machine under a steady load at another rate, recorded from
start to end; the twin learns from its first third and predicts the rest. `AIGRID_MIRROR_RUNS` takes
other runs, as `RATE/SECONDS` with commas between them; `AIGRID_MIRROR_KEEP` a folder that keeps the
recordings, for `aigrid rehearse --from-live`. A rate that the machine cannot carry tests nothing:
its lines grow for as long as it lasts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aigrid.factory.progress import SilentProgress
from aigrid.factory.recipe import load_recipe
from aigrid.factory.run import make_model
from aigrid.live.client import ControlClient
from aigrid.live.paths import GridPaths
from aigrid.live.settings import GridSettings
from aigrid.live.supervisor import Supervisor
from aigrid.store.store import Store
from aigrid.twin.mirror.comparison import TARGET_PCT, TARGET_ROWS, Mirror
from aigrid.twin.mirror.prediction import predict

RECIPE = Path(__file__).parent.parent / "recipes" / "first-light.yaml"
RUNS = "8/60,12/60,16/60,20/60,24/60,12/90"
SITES = "1,1,1"
SETTLE_S = 3.0
SERVED_WITHIN_S = 120.0


def publish(data: Path, model: Path) -> str:
    """A model of the first recipe's shape, barely trained: speed does not depend on it."""
    if not (model / "config.json").exists():
        recipe = load_recipe(RECIPE)
        training = recipe.training.model_copy(update={"steps": 12})
        make_model(recipe.model_copy(update={"training": training}), model, None, SilentProgress())
    record = Store(GridPaths(data).store).publish(model, "benchmark", time.time())
    return record.ref


@contextmanager
def recording(data: Path, ref: str, folder: Path) -> Iterator[ControlClient]:
    """A grid that serves the model at each of its sites and is recorded."""
    supervisor = Supervisor(GridSettings(data=data, port=0, sites=SITES, record=folder))
    supervisor.start()
    try:
        client = ControlClient(data)
        client.deploy(ref)
        _await_sites(client, supervisor)
        time.sleep(SETTLE_S)
        yield client
    finally:
        supervisor.stop()


def _await_sites(client: ControlClient, supervisor: Supervisor) -> None:
    deadline_s = time.monotonic() + SERVED_WITHIN_S
    while time.monotonic() < deadline_s:
        supervisor.watch()
        status = client.status()
        if status["services"] and status["services"][0]["ready_sites"] == len(status["sites"]):
            return
        time.sleep(0.2)
    raise TimeoutError(f"no site served after {SERVED_WITHIN_S:.0f} s")


def record(data: Path, ref: str, folder: Path, rate: float, seconds: float, seed: int) -> None:
    """Record one run under load."""
    with recording(data, ref, folder) as client:
        model = ref.split(":")[0]
        load = [client.base_url, client.api_key, model, str(rate), str(seconds), str(seed)]
        told = subprocess.run(
            [sys.executable, "-m", "benchmarks._load", *load],
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 90.0,
        )
    counts = json.loads(told.stdout)
    if counts["failed"]:
        sys.stderr.write(f"{folder.name}: {counts['failed']} of {counts['asked']} failed\n")


def run() -> list[dict[str, Any]]:
    """Record and predict; a row for each run and one for how many were within the aim."""
    runs = [one.split("/") for one in os.environ.get("AIGRID_MIRROR_RUNS", RUNS).split(",")]
    with tempfile.TemporaryDirectory(prefix="aigrid-mirror-") as scratch:
        kept = Path(os.environ.get("AIGRID_MIRROR_KEEP", scratch))
        data = Path(scratch) / "grid"
        ref = publish(data, kept / "model")
        mirrors = []
        for number, (rate, seconds) in enumerate(runs, start=int(time.time())):
            folder = kept / f"run-{rate}-{seconds}-{number}"
            record(data, ref, folder, float(rate), float(seconds), seed=number)
            mirrors.append((f"{rate}/s for {seconds} s", predict(folder)))
    return [_row(name, mirror) for name, mirror in mirrors] + [_total(mirrors)]


def _row(name: str, mirror: Mirror) -> dict[str, Any]:
    errors = [mirror.row(figure).error_pct or 0.0 for figure in TARGET_ROWS]
    spelt = ", ".join(f"{error:+.0f}%" for error in errors)
    return {
        "benchmark": "mirror",
        "figure": f"{name}: TTFT p50, answer p50, utilisation",
        "value": max(abs(error) for error in errors),
        "unit": "% off at most",
        "limit": TARGET_PCT,
        "verdict": "kept" if mirror.within_target else "missed",
        "note": f"{spelt}; drift {mirror.drift_pct:+.0f}%, load {mirror.load_average[0]:.1f}",
    }


def _total(mirrors: list[tuple[str, Mirror]]) -> dict[str, Any]:
    kept = sum(mirror.within_target for _, mirror in mirrors)
    return {
        "benchmark": "mirror",
        "figure": "runs predicted within the aim",
        "value": kept,
        "unit": f"of {len(mirrors)}",
        "limit": len(mirrors),
        "verdict": "won" if kept == len(mirrors) else "lost",
    }
