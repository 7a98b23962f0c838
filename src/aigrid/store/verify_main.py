"""Verifies one unpacked package and ends: `python -m aigrid.store.verify_main`, JSON in and out.

`verify_in_subprocess` starts it, so that the signing library's memory goes back at once.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from aigrid.core.errors import AigridError
from aigrid.store.signing import MAX_BUNDLE_BYTES, MAX_SIGNATURES, parse_order, verify_directory

_MAX_ORDER_BYTES = (MAX_SIGNATURES + 1) * MAX_BUNDLE_BYTES * 2


def main() -> int:
    """Read an order from standard input, write the result; the exit code says how it went."""
    code, result = _result(sys.stdin.buffer.read(_MAX_ORDER_BYTES))
    sys.stdout.write(json.dumps(result))
    return code


def _result(order: bytes) -> tuple[int, dict[str, Any]]:
    try:
        proved = verify_directory(*parse_order(order))
    except AigridError as error:
        return error.exit_code, {
            "error": type(error).__name__,
            "message": error.message,
            "next_step": error.next_step,
        }
    return 0, {"digest": proved.digest, "key_id": proved.key_id, "key": str(proved.key)}


if __name__ == "__main__":
    raise SystemExit(main())
