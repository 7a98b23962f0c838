"""Bytes and the digests they must have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aigrid.core.errors import IntegrityError
from aigrid.store.durable import read_chunks

REPAIR = "publish or pull the package again to repair it"


def checked(chunks: Iterable[bytes], digest: str, size: int, what: str = "") -> Iterator[bytes]:
    """Pass a stream on, and raise at its end unless it had this digest and size.

    Raises:
        IntegrityError: naming `what`, the digest that was promised and the one that came.
    """
    hasher, seen = hashlib.sha256(), 0
    name = what or f"blob {digest}"
    for chunk in chunks:
        hasher.update(chunk)
        seen += len(chunk)
        if seen > size:
            raise IntegrityError(
                f"{name}: more than the promised {size} bytes came", next_step=REPAIR
            )
        yield chunk
    if seen < size:
        raise IntegrityError(f"{name}: only {seen} of {size} bytes are there", next_step=REPAIR)
    actual = "sha256:" + hasher.hexdigest()
    if actual != digest:
        raise IntegrityError(
            f"{name}: its bytes have digest {actual}, not {digest}", next_step=REPAIR
        )


def file_digest(path: Path) -> tuple[str, int]:
    """Digest and size in bytes of a file."""
    hasher, size = hashlib.sha256(), 0
    for chunk in read_chunks(path):
        hasher.update(chunk)
        size += len(chunk)
    return "sha256:" + hasher.hexdigest(), size


def decode_object(content: bytes, origin: str) -> dict[str, Any]:
    """A JSON object out of bytes.

    Raises:
        IntegrityError: not JSON, or not an object.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{origin} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise IntegrityError(f"{origin} is a JSON {type(value).__name__}, not an object")
    return value
