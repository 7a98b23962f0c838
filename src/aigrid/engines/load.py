"""From a package's service layer to the engine that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aigrid.core.package import ServiceSpec
from aigrid.engines.engine import Engine


def load_engine(spec: ServiceSpec, model_dir: Path, **options: Any) -> Engine:
    """Open the engine that a package asks for.

    Args:
        spec: the package's service layer.
        model_dir: its unpacked files; unused by the upstream engine.
        options: passed on to `EmbeddedEngine.open`, `EmbeddingEngine.open` or `UpstreamEngine`.

    Raises:
        IntegrityError: a file is missing or broken.
        ConfigurationError: a file that the engine does not run, or an option out of range.
    """
    # each engine is imported only where it runs: an upstream site needs no ONNX Runtime
    if spec.upstream is not None:
        from aigrid.engines.upstream import UpstreamEngine

        return UpstreamEngine(spec.upstream, **options)
    if spec.kind == "embed":
        from aigrid.engines.embedder import EmbeddingEngine

        return EmbeddingEngine.open(model_dir, **options)
    from aigrid.engines.embedded import EmbeddedEngine

    return EmbeddedEngine.open(model_dir, **options)
