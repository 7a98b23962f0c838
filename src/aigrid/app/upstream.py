"""A package for a model that another OpenAI-compatible server runs."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from aigrid.app.make import publish
from aigrid.core.errors import ConfigurationError
from aigrid.core.package import Footprint, ServiceSpec, UpstreamTarget

MEMORY_MB = 16
COMPUTE_CORES = 0.1


def publish_upstream(store: Path, name: str, url: str, model: str, key_file: Path | None) -> str:
    """Publish a package that forwards to a server; answers its reference.

    Its version follows from its content, so that another address is another version. The package
    holds the path of the key's file, never the key.

    Args:
        store: directory of the store.
        name: `NAME` or `NAME:VERSION` of the service.
        url: base URL, ending where `/chat/completions` would follow.
        model: the model's name over there.
        key_file: a file on the site that holds the key; None for none.

    Raises:
        ConfigurationError: not an HTTP address, or no such key file.
        AigridError: see `store.store.Store.publish`.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"--upstream {url!r} is not an address of a server",
            next_step="give e.g. http://127.0.0.1:8000/v1",
        )
    if key_file is not None and not key_file.is_file():
        raise ConfigurationError(
            f"--key-file {key_file} is not there", next_step="name the file that holds the key"
        )
    target = UpstreamTarget(url.rstrip("/"), model, str(key_file.absolute()) if key_file else "")
    base, _, version = name.partition(":")
    spec = ServiceSpec(
        name=base,
        version=version or _version(target),
        engine="upstream",
        footprint=Footprint(MEMORY_MB, COMPUTE_CORES),
        upstream=target,
    )
    with tempfile.TemporaryDirectory(prefix="aigrid-upstream-") as folder:
        (Path(folder) / "service.json").write_bytes(spec.to_json())
        return publish(store, Path(folder)).ref


def _version(target: UpstreamTarget) -> str:
    content = "\n".join((target.base_url, target.model, target.key_file))
    return "upstream-" + hashlib.sha256(content.encode()).hexdigest()[:12]
