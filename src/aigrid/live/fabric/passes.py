"""What a process shows to a NATS server: its key, and the token that says what it may."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aigrid.core.errors import StorageError
from aigrid.live.fabric.nkeys import KeyPair
from aigrid.live.fabric.rights import inbox
from aigrid.live.paths import write_json


@dataclass(frozen=True, slots=True)
class Pass:
    """One user's.

    Attributes:
        seed: of its key.
        token: signed by the grid, see `claims.user`.
    """

    seed: str = field(repr=False)
    token: str = field(repr=False)

    def options(self) -> dict[str, Any]:
        """For `nats.aio.client.Client.connect`."""
        key = KeyPair.read(self.seed)
        return {
            "user_jwt_cb": self.token.encode,
            "signature_cb": lambda nonce: base64.b64encode(key.sign(nonce.encode())),
            "inbox_prefix": inbox(key.public),
        }

    def save(self, file: Path) -> None:
        """Keep it; nobody else may read it.

        Raises:
            StorageError: it cannot be written.
        """
        write_json(file, {"seed": self.seed, "token": self.token}, mode=0o600)

    @classmethod
    def load(cls, file: Path) -> Pass | None:
        """What was kept; None where nothing was.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(
                f"pass {file} cannot be read: {error}", next_step="join again, or start the grid"
            ) from error
