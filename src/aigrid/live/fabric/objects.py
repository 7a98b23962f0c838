"""Objects of NATS's object store, read message by message.

`nats-py` reads them by a consumer of one's own. Who may make consumers may have the server send
anything anywhere, so members may not: they ask for one message after the other, by subject. NATS
ADR-20 (object store) and ADR-31 (direct get).
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

from nats.js import JetStreamContext
from nats.js.api import ObjectInfo
from nats.js.errors import NotFoundError

from aigrid.core.errors import IntegrityError
from aigrid.live.fabric.nats_names import object_stream

SMALL_LIMIT_BYTES = 64 * 1024 * 1024


async def look_up(stream: JetStreamContext, bucket: str, name: str) -> ObjectInfo:
    """What is known of an object.

    Raises:
        nats.js.errors.NotFoundError: there is none of that name.
        nats.errors.Error: the server is away.
    """
    encoded = base64.urlsafe_b64encode(name.encode()).decode()
    subject = f"$O.{bucket}.M.{encoded}"
    found = await stream.get_last_msg(object_stream(bucket), subject, direct=True)
    info: ObjectInfo = ObjectInfo.from_response(json.loads(found.data or b"{}"))
    if info.deleted:
        raise NotFoundError
    return info


async def pieces(stream: JetStreamContext, info: ObjectInfo) -> AsyncIterator[bytes]:
    """An object, piece by piece.

    Raises:
        nats.js.errors.NotFoundError: it was replaced meanwhile.
        nats.errors.Error: the server is away.
    """
    subject, after = f"$O.{info.bucket}.C.{info.nuid}", 0
    for _ in range(info.chunks or 0):
        found = await stream.get_msg(
            object_stream(info.bucket), seq=after + 1, subject=subject, direct=True, next=True
        )
        after = found.seq or after + 1
        yield found.data or b""


async def read_object(
    stream: JetStreamContext, bucket: str, name: str, limit_bytes: int = SMALL_LIMIT_BYTES
) -> bytes:
    """A small object, whole.

    Raises:
        IntegrityError: it is larger than `limit_bytes`.
        nats.js.errors.NotFoundError: there is none of that name.
        nats.errors.Error: the server is away.
    """
    info = await look_up(stream, bucket, name)
    if (info.size or 0) > limit_bytes:
        raise IntegrityError(f"object {name!r} of {bucket} has {info.size} bytes")
    return b"".join([piece async for piece in pieces(stream, info)])
