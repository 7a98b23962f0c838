"""A package for a model that another OpenAI-compatible server runs."""

from __future__ import annotations

import hashlib
import tempfile
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from aigrid.app.make import publish
from aigrid.core.errors import ConfigurationError
from aigrid.core.package import Footprint, ServiceSpec, UpstreamTarget
from aigrid.engines.egress import Egress, Grants, addresses_of, read_grants
from aigrid.live.paths import GridPaths, write_json

MEMORY_MB = 16
COMPUTE_CORES = 0.1


def publish_upstream(
    store: Path, name: str, url: str, model: str, key_file: Path | None, kind: str = "chat"
) -> str:
    """Publish a package that forwards to a server; answers its reference.

    Its version follows from its content, so that another address is another version. The package
    holds the path of the key's file, never the key.

    Args:
        store: directory of the store.
        name: `NAME` or `NAME:VERSION` of the service.
        url: base URL, ending where `/chat/completions` would follow.
        model: the model's name over there.
        key_file: a file on the site that holds the key; None for none.
        kind: of the service, `chat` or `embed`.

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
        version=version or _version(target, kind),
        kind=kind,
        engine="upstream",
        footprint=Footprint(MEMORY_MB, COMPUTE_CORES),
        upstream=target,
    )
    with tempfile.TemporaryDirectory(prefix="aigrid-upstream-") as folder:
        (Path(folder) / "service.json").write_bytes(spec.to_json())
        return publish(store, Path(folder)).ref


def grant(paths: GridPaths, url: str, key_file: Path | None, *, private: bool) -> None:
    """Note what the person at this machine allows its sites, and see that it is enough.

    Args:
        paths: of the data directory; sites of other machines have one of their own.
        url: base URL of the server.
        key_file: that may be shown to this very server.
        private: whether its addresses may be others than public ones.

    Raises:
        ConfigurationError: the file of grants cannot be used.
        PermissionDeniedError: the address is not public, and `private` was not given.
    """
    base_url = url.rstrip("/")
    key = str(key_file.absolute()) if key_file else ""
    path = paths.upstreams
    held = read_grants(path) if path.exists() else Grants()
    networks = {str(network) for network in held.networks}
    keys = {*held.keys, (base_url, key)} if key else set(held.keys)
    rules = Egress(path)
    if private:
        networks |= {str(ip_network(address)) for address in addresses_of(base_url)}
    told = {"networks": sorted(networks), "keys": sorted(map(list, keys))}
    if told != {"networks": [], "keys": []}:
        write_json(path, told, mode=0o600)
    rules.check(UpstreamTarget(base_url, "", key))


def _version(target: UpstreamTarget, kind: str) -> str:
    parts = [target.base_url, target.model, target.key_file]
    content = "\n".join(parts if kind == "chat" else [*parts, kind])
    return "upstream-" + hashlib.sha256(content.encode()).hexdigest()[:12]
