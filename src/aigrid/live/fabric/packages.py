"""Packages in NATS's object store: each blob an object of its digest, and a list for a package."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import ObjectMeta, ObjectMetaOptions
from nats.js.errors import NotFoundError as NoObjectError
from nats.js.object_store import ObjectStore

from aigrid.core.errors import IntegrityError, NotFoundError, UnavailableError
from aigrid.core.package import ServiceSpec
from aigrid.live.fabric.nats_names import PACKAGES
from aigrid.live.fabric.nats_server import AWAY, NatsServer
from aigrid.live.fabric.objects import look_up, pieces, read_object
from aigrid.live.package_source import read_service
from aigrid.store.install import install_from
from aigrid.store.layout import Layout

LIST_LIMIT_BYTES = 1024 * 1024
CHUNK_BYTES = 1024 * 1024
PIECE_BYTES = 512 * 1024  # below the server's default message limit of 1 MiB
PIECE_TIMEOUT_S = 10.0


_PIECES = ObjectMetaOptions(max_chunk_size=PIECE_BYTES)


def _list_name(digest: str) -> str:
    return f"package/{digest}"


def _blobs(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest["config"], *manifest["layers"]] if "config" in manifest else []


async def put_package(objects: ObjectStore, layout: Layout, digest: str) -> None:
    """Put a package up: its blobs, then its signatures, and last the list that names them.

    Raises:
        IntegrityError: the layout holds other bytes than the digests say.
        nats.errors.Error: the server is away.
    """
    manifests = [digest] + [entry["digest"] for entry in layout.referrers(digest)]
    blobs: dict[str, int] = {}
    for name in manifests:
        for blob in _blobs(layout.manifest(name)):
            blobs[blob["digest"]] = blob["size"]
    for name in blobs:
        if not await _has(objects, name):
            with layout.blob_path(name).open("rb") as file:  # sites check every byte of it
                await objects.put(name, file, ObjectMeta(options=_PIECES))
    texts = [layout.read_blob(name, what="manifest").decode() for name in manifests]
    told = {"manifests": texts, "blobs": blobs}
    await objects.put(_list_name(digest), json.dumps(told).encode())


async def _has(objects: ObjectStore, name: str) -> bool:
    try:
        await objects.get_info(name)
    except NoObjectError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class NatsSource:
    """Implements `live.replicas.PackageSource`: pulls by digest, verified on the way.

    Attributes:
        server: where NATS is.
        folder: the site's own folder.
        trusted_keys: public key files whose signatures count.
    """

    server: NatsServer
    folder: Path
    trusted_keys: tuple[Path, ...]

    def fetch(self, digest: str) -> tuple[ServiceSpec, Path]:
        """See `live.replicas.PackageSource.fetch`. Blocks: call it in a thread."""
        files = self.folder / "packages" / digest.partition(":")[2]
        layout = Layout(self.folder / "oci")

        def pull() -> None:
            asyncio.run(self._pull(layout, digest))

        install_from(pull, digest, layout, files, self.trusted_keys)
        return read_service(files, digest), files

    async def _pull(self, layout: Layout, digest: str) -> None:
        client = await self.server.connect("aigrid package")
        try:
            await _pull_from(client.jetstream(timeout=PIECE_TIMEOUT_S), layout, digest)
        except NoObjectError as error:
            raise NotFoundError(f"fabric {self.server.url} holds no {digest}") from error
        except AWAY as error:
            raise UnavailableError(f"fabric {self.server.url}: {error!r}") from error
        finally:
            await client.close()


async def _pull_from(stream: JetStreamContext, layout: Layout, digest: str) -> None:
    listed = await read_object(stream, PACKAGES, _list_name(digest), LIST_LIMIT_BYTES)
    told = json.loads(listed)
    for name, size in told["blobs"].items():
        if not layout.has(name) or not layout.intact(name):
            with tempfile.TemporaryFile(dir=layout.root) as file:
                async for piece in pieces(stream, await look_up(stream, PACKAGES, name)):
                    await asyncio.to_thread(file.write, piece)
                file.seek(0)
                layout.ingest(iter(partial(file.read, CHUNK_BYTES), b""), name, size)
    for text in told["manifests"]:
        layout.add_manifest(text.encode())
    if not layout.has(digest):
        raise IntegrityError(f"the list of {digest} does not hold its manifest")
