"""One-time tokens by which a site joins from another machine."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from aigrid.core.errors import InvalidRequestError

VERSION = 1
LIMIT_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a join token says to the site that holds it.

    Attributes:
        url: of the door.
        authority: the grid's certificate, DER: whoever else answers is refused.
        site: the name that the holder will have.
        secret: known to the holder alone; the grid keeps its digest.
    """

    url: str
    authority: bytes
    site: str
    secret: str

    def token(self) -> str:
        """As one word, for a command line."""
        told = {
            "v": VERSION,
            "url": self.url,
            "ca": base64.b64encode(self.authority).decode(),
            "site": self.site,
            "secret": self.secret,
        }
        return "join-" + base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, token: str) -> Invitation:
        """Read a token.

        Raises:
            InvalidRequestError: it is none, or of another version.
        """
        try:
            if not token.startswith("join-") or len(token) > LIMIT_CHARACTERS:
                raise ValueError("it does not look like one")
            body = token.removeprefix("join-")
            told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            if told["v"] != VERSION:
                raise ValueError(f"version {told['v']}")
            return cls(told["url"], base64.b64decode(told["ca"]), told["site"], told["secret"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequestError(
                f"join token: {error}", next_step="copy the whole line of `aigrid site invite`"
            ) from error
