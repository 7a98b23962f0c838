"""A site's double that makes vectors, served beside the scripted engine of a `Rig`."""

import asyncio
import time
from typing import Any

import numpy as np
from tests.live.conftest import FakeControl, Rig, until

from aigrid.core.package import ServiceSpec
from aigrid.core.routing import RoutingTable
from aigrid.engines.embedding import EmbeddingJob, Embeddings
from aigrid.engines.scripted import ScriptedEngine
from aigrid.live.replicas import Replica

DIGEST = "sha256:e"


class ScriptedEmbedder(ScriptedEngine):
    """Vectors by a rule that a test can work out; as slow, or as faulty, as it is told."""

    def __init__(self, takes_s: float = 0.0, fault: Exception | None = None) -> None:
        super().__init__()
        self.takes_s, self.fault, self.embedded = takes_s, fault, 0
        self.left = 0

    async def embed(self, job: EmbeddingJob) -> Embeddings:
        self._running += 1
        if job.times is not None:
            job.times.fill_ns = time.time_ns()
        try:
            for _ in range(max(1, int(self.takes_s / 0.05))):
                await asyncio.sleep(min(self.takes_s, 0.05))
                job.progress.inputs = min(len(job.inputs), job.progress.inputs + 1)
            if self.fault is not None:
                raise self.fault
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self._running -= 1
        self.embedded += 1
        width = job.dimensions or 3
        return Embeddings(np.stack([vector(one, width) for one in job.inputs]), tokens(job.inputs))


def vector(given: Any, width: int = 3) -> np.ndarray:
    return (np.arange(1, width + 1) * len(given) / 7).astype(np.float32)


def tokens(inputs: Any) -> int:
    return sum(len(one) if isinstance(one, tuple) else len(one.split()) for one in inputs)


def serve(running: Rig, **engines: ScriptedEmbedder) -> None:
    """Have the sites serve `e` beside `m`, and the gateway know it."""
    for name, engine in engines.items():
        spec = ServiceSpec("e", "1", kind="embed")
        running.apis[name].agent.replicas.serving["e"] = Replica(spec, DIGEST, engine)
    publish(running.control)
    until(lambda: "e" in running.gateway_state.mirror.services)


def publish(control: FakeControl) -> None:
    names = tuple(control.answer["urls"])
    row = np.arange(len(names), dtype=np.int32)
    table = RoutingTable(
        origins=("*",),
        services=("m", "e"),
        sites=names,
        candidate=np.stack([row, row])[None],
        weight=np.full((1, 2, len(names)), 1.0 / len(names), np.float32),
    )
    common = {"version": "1", "deployed_at_s": 0.0}
    services = [
        {"name": "m", "digest": "sha256:0", "kind": "chat", **common},
        {
            "name": "e",
            "digest": DIGEST,
            "kind": "embed",
            "price": {"currency": "USD", "input_micro": 2_000_000, "output_micro": 9_000_000},
            **common,
        },
    ]
    version = control.answer["version"] + 1
    control.answer |= {"version": version, "table": table.to_dict(), "services": services}
