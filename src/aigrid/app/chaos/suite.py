"""`aigrid chaos`: strike a grid under load, and check every answer against an undisturbed one."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aigrid.app.chaos.counts import misbilled, open_counts
from aigrid.app.chaos.faults import FAULTS, SUITES, Fault
from aigrid.app.chaos.grid import ChaosGrid, has_nats
from aigrid.app.chaos.load import Client, Fate, Question, Told, questions
from aigrid.core.errors import NotFoundError, UnavailableError
from aigrid.factory.progress import Progress

AT_ONCE = 32
MAX_TOKENS = 160
REST_S = 15.0
BEFORE_S = (0.2, 0.8)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked for.

    Attributes:
        suite: a suite or a fault.
        seed: of questions, victims and moments.
        questions: a fault; the usual number.
        package: a model folder; None makes a tiny one.
    """

    suite: str = "all"
    seed: int = 0
    questions: int = 64
    package: Path | None = None


@dataclass(slots=True)
class Verdict:
    """What a fault did.

    Attributes:
        fault: its name.
        requests: that were asked.
        lost: without an answer in the end.
        hung: without an end in time.
        changed: other text, ending or usage than undisturbed.
        troubles: the first of them, in words.
        asked_again: by clients, since their connection broke.
        refused: 429 or 503 with Retry-After, asked again later.
        continued: answers that another site went on with.
        slowest_s: from request to end of answer.
        misbilled: tokens billed, less tokens that clients got.
        left_open: counters that did not come back to zero.
        recovered_s: from the last answer until every site served again.
        skipped: why it did not run; empty where it did.
    """

    fault: str
    requests: int = 0
    lost: int = 0
    hung: int = 0
    changed: int = 0
    troubles: list[str] = field(default_factory=list)
    asked_again: int = 0
    refused: int = 0
    continued: int = 0
    slowest_s: float = 0.0
    misbilled: int = 0
    left_open: dict[str, float] = field(default_factory=dict)
    recovered_s: float = 0.0
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, hung, changed, misbilled or left open."""
        harm = self.lost or self.hung or self.changed or self.misbilled
        return not (harm or self.left_open or self.troubles)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"passed": self.passed}


def chosen(suite: str) -> list[Fault]:
    """The faults of a suite, or one fault.

    Raises:
        NotFoundError: neither.
    """
    if suite not in SUITES and suite not in FAULTS:
        raise NotFoundError(
            f"no chaos suite {suite!r}", next_step=f"one of {', '.join([*SUITES, *FAULTS])}"
        )
    return [FAULTS[name] for name in SUITES.get(suite, (suite,))]


def run(wish: Wish, progress: Progress) -> list[Verdict]:
    """Run a suite on a grid of its own, in a temporary folder, on loopback.

    Raises:
        NotFoundError: no such suite.
        UnavailableError: the grid does not come up, or not come back.
    """
    faults = chosen(wish.suite)
    with tempfile.TemporaryDirectory(prefix="aigrid-chaos-") as folder:
        package = wish.package or _tiny_model(Path(folder), progress)
        return asyncio.run(_run(wish, faults, Path(folder), package, progress))


def _tiny_model(folder: Path, progress: Progress) -> Path:
    from aigrid.app.chaos.model import make_tiny

    return make_tiny(folder, progress)


async def _run(
    wish: Wish, faults: list[Fault], folder: Path, package: Path, progress: Progress
) -> list[Verdict]:
    uses = frozenset(fault.uses for fault in faults if fault.uses and not fault.needs)
    grid = ChaosGrid(folder, package, has_nats(), uses)
    progress.stage("striking", len(faults) + 1)
    try:
        await grid.start()
        progress.advance(1)
        verdicts = []
        for number, fault in enumerate(faults):
            rng = np.random.default_rng([wish.seed, number])
            verdicts.append(await strike(grid, fault, wish, rng))
            word = "skipped" if fault.needs else "passed" if verdicts[-1].passed else "FAILED"
            progress.advance(1, fault=f"{fault.name} {word}")
        return verdicts
    finally:
        await grid.close()


async def strike(grid: ChaosGrid, fault: Fault, wish: Wish, rng: np.random.Generator) -> Verdict:
    """One fault under load."""
    if fault.needs:
        return Verdict(fault.name, skipped=fault.needs)
    client = Client(grid.client.base_url, grid.client.api_key)
    asked = questions(grid.model, wish.questions, MAX_TOKENS, rng)
    undisturbed = await reference(client, asked, f"{fault.name}-{wish.seed}-calm")
    grid.delivered_tokens += sum(told.tokens for told in undisturbed)
    before = await grid.resumed()
    striking = asyncio.create_task(_later(grid, fault, rng))
    fates: list[Fate] = []
    rounds = 0
    while rounds < fault.rounds or not striking.done():
        run = f"{fault.name}-{wish.seed}-{rounds}"
        fates += await client.ask_all(asked * fault.at_once, run, AT_ONCE * fault.at_once)
        rounds += 1
    await striking
    verdict = judge(fault, fates, undisturbed * fault.at_once * rounds)
    verdict.troubles += grid.troubles
    grid.troubles.clear()
    await _come_to_rest(grid, verdict)
    grid.delivered_tokens += sum(fate.told.tokens for fate in fates if fate.told is not None)
    verdict.misbilled = await misbilled(grid)
    grid.delivered_tokens += verdict.misbilled  # the next fault's account begins even
    verdict.continued = max(0, await grid.resumed() - before)
    return verdict


async def _later(grid: ChaosGrid, fault: Fault, rng: np.random.Generator) -> None:
    await asyncio.sleep(float(rng.uniform(*BEFORE_S)))
    await fault.strike(grid, rng)


async def reference(client: Client, asked: list[Question], run: str) -> list[Told]:
    """The answers of a grid at rest.

    Raises:
        UnavailableError: it does not answer even then.
    """
    fates = await client.ask_all(asked, run, 8)
    for fate in fates:
        if fate.told is None:
            raise UnavailableError(f"the grid at rest does not answer: {fate.trouble}")
    return [fate.told for fate in fates if fate.told is not None]


def judge(fault: Fault, fates: list[Fate], undisturbed: list[Told]) -> Verdict:
    """Compare what came with what should have come."""
    verdict = Verdict(fault.name, requests=len(fates))
    for fate, right in zip(fates, undisturbed, strict=True):
        verdict.asked_again += fate.broken
        verdict.refused += fate.refused
        verdict.slowest_s = max(verdict.slowest_s, round(fate.seconds, 2))
        if fate.trouble.startswith("hung"):
            verdict.hung += 1
        elif fate.told is None:
            verdict.lost += 1
        elif fate.told != right:
            verdict.changed += 1
            fate.trouble = f"changed: {fate.told} for {right}"
        if fate.trouble and len(verdict.troubles) < 5:
            verdict.troubles.append(fate.trouble)
    if verdict.asked_again and not fault.gateway_dies:
        verdict.troubles.append(f"{verdict.asked_again} connections broke at a living gateway")
    return verdict


async def _come_to_rest(grid: ChaosGrid, verdict: Verdict) -> None:
    """Every site serves again, and no counter stays open."""
    began_s = time.monotonic()
    try:
        verdict.recovered_s = round(await grid.until_served(), 2)
    except UnavailableError as error:
        verdict.troubles.append(str(error))
    while verdict_open := await open_counts(grid):
        if time.monotonic() > began_s + verdict.recovered_s + REST_S:
            verdict.left_open = verdict_open
            return
        await asyncio.sleep(0.25)
