"""Many random grids, in this process or in several; stops cleanly when it is interrupted."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aigrid.app.origin import code_commit
from aigrid.twin.swarm.outcome import Outcome, SwarmResult

if TYPE_CHECKING:
    from aigrid.factory.progress import Progress

GRIDS_LIMIT = 1_000_000
# Seeds handed to a process at once, for each process: more than it works on, few to throw away.
AHEAD = 2


@dataclass(slots=True)
class Swarm:
    """A swarm and how far it is.

    Attributes:
        grids: how many to try.
        seed: of the first; the others follow.
        workers: processes.
        outcomes: by seed, of those that were tried.
        interrupted: whether somebody stopped it.
    """

    grids: int
    seed: int
    workers: int = 1
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    interrupted: bool = False

    def run(self, progress: Progress) -> SwarmResult:
        """Try all of them; Ctrl-C ends it with what was done so far."""
        began_s = time.monotonic()
        progress.stage("swarm", self.grids)
        try:
            for outcome in self._outcomes():
                self.outcomes[outcome.seed] = outcome
                failed = sum(o.failure is not None for o in self.outcomes.values())
                progress.advance(1, failed=failed, seed=outcome.seed)
        except KeyboardInterrupt:
            self.interrupted = True
        found = tuple(self.outcomes[seed] for seed in sorted(self.outcomes))
        wall_s = time.monotonic() - began_s
        return SwarmResult(self.seed, self.grids, found, wall_s, self.workers, code_commit())

    def _outcomes(self) -> Iterator[Outcome]:
        seeds = range(self.seed, self.seed + self.grids)
        if min(self.workers, self.grids) == 1:
            from aigrid.twin.swarm.run import attempt

            return map(attempt, seeds)
        return _in_processes(seeds, min(self.workers, self.grids))


def _in_processes(seeds: Sequence[int], workers: int) -> Iterator[Outcome]:
    from aigrid.twin.swarm.run import attempt

    left, open_ = iter(seeds), set[Future[Outcome]]()
    with _pool(workers) as pool:
        for seed in seeds[: workers * AHEAD]:
            open_.add(pool.submit(attempt, seed))
            next(left)
        while open_:
            done, open_ = wait(open_, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
                seed_next = next(left, None)
                if seed_next is not None:
                    open_.add(pool.submit(attempt, seed_next))


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes that leave Ctrl-C to this one; they end at once when it leaves early."""
    # Forking would copy threads' locks; a fresh interpreter costs a second.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_leave_interrupts)
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
