"""`aigrid up --record DIR`, load, and what the twin makes of it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openai
import pytest

from aigrid.live.client import ControlClient
from aigrid.twin.mirror.prediction import predict
from aigrid.twin.mirror.recorded import read_run
from tests.cli.conftest import spawn

# Enough for its first third to teach something, on a fast machine too.
REQUESTS, PAUSE_S = 480, 0.03


def send_load(data: Path) -> None:
    """Streamed and whole requests of varied lengths, some at once."""
    client = ControlClient(data)
    dice = np.random.default_rng(1)
    prompts = [dice.integers(5, 200, size=dice.integers(4, 60)).tolist() for _ in range(REQUESTS)]
    tokens = dice.integers(2, 40, size=REQUESTS).tolist()

    def ask(number: int) -> None:
        answer = api.completions.create(
            model="tiny",
            prompt=prompts[number],
            max_tokens=tokens[number],
            stream=number % 2 == 0,
        )
        if number % 2 == 0:
            list(answer)
        time.sleep(PAUSE_S)

    with (
        openai.OpenAI(base_url=client.base_url, api_key=client.api_key, max_retries=0) as api,
        ThreadPoolExecutor(3) as pool,
    ):
        list(pool.map(ask, range(REQUESTS)))


@pytest.mark.grid
def test_a_recorded_run_is_predicted(model: Path, tmp_path: Path) -> None:
    data, folder = tmp_path / "grid", tmp_path / "run"
    assert spawn("store", "publish", model, data=data).returncode == 0
    up = ("up", "--detach", "--port", 0, "--sites", "1,0,1", "--record", folder)
    started = spawn(*up, data=data)
    assert started.returncode == 0, started.stderr
    try:
        send_load(data)
    finally:
        spawn("down", data=data)
    run = read_run(folder)
    assert len(run.requests) == REQUESTS and not run.dropped
    assert all(run.job_of(request) is not None for request in run.requests)
    assert all(0.0 < r.ttft_s <= r.duration_s for r in run.requests if r.stream)
    mirror = predict(folder)
    answered = mirror.row("answered")
    assert 0 < answered.measured == answered.predicted == mirror.requests < REQUESTS
    assert mirror.row("tokens_per_s").error_pct == pytest.approx(0.0)
    assert 0.0 < mirror.row("utilisation_mean").predicted <= 1.0
    assert 0.0 < mirror.row("utilisation_mean").measured <= 1.0
    assert 0.0 < mirror.row("ttft_ms_p50").predicted < mirror.row("answer_ms_p95").predicted
    again = spawn(*up, data=data)
    assert again.returncode != 0 and "holds a recorded run" in again.stderr
    shown = spawn("rehearse", "--from-live", folder, "--json", data=data)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["trace_sha256"] == mirror.trace_sha256
