"""The same country and seed give the same trace, whatever the threads and hashes."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.twin.fluid import small

from aigrid.twin.fluid import rehearse

CODE = """
import sys
from tests.twin.fluid import small
from aigrid.twin.fluid import rehearse
country = small.busy(network=small.network(towers=700), minutes=12)
found = rehearse(country, ["aigrid", "least-loaded"], 3, workers=int(sys.argv[1]))
print(found.trace_sha256, found.policies["aigrid"].ttft_ms_p99.hex())
"""


def test_threads_and_hash_seeds_change_nothing() -> None:
    runs = [_start(threads, workers) for threads, workers in ((1, 1), (4, 3))]
    told = [run.communicate(timeout=120)[0].split() for run in runs]
    assert told[0] == told[1]
    assert len(told[0][0]) == 64


def _start(threads: int, workers: int) -> subprocess.Popen[str]:
    counts = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)
    )
    path = os.pathsep.join(sys.path)
    environment = os.environ | counts | {"PYTHONHASHSEED": str(threads), "PYTHONPATH": path}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(workers)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def test_another_seed_is_another_day() -> None:
    country = small.country(minutes=4)
    first, again, other = (rehearse(country, ["aigrid"], seed).trace_sha256 for seed in (1, 1, 2))
    assert first == again
    assert first != other
