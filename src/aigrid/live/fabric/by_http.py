"""The embedded fabric: the control plane's own HTTP."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from aigrid.core.errors import UnavailableError
from aigrid.live.fabric.link import Kind

TELL_TIMEOUT_S = 5.0


@dataclass(slots=True)
class HttpLink:
    """Implements `fabric.link.Link`.

    Attributes:
        control_url: the control plane.
        token: the grid's token.
        tls: for `https`, with this process's certificate; None for plain HTTP on loopback.
    """

    control_url: str
    token: str
    tls: ssl.SSLContext | None = None
    _session: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def open(self) -> None:
        """See `Link.open`."""
        connector = aiohttp.TCPConnector(ssl=self.tls) if self.tls else aiohttp.TCPConnector()
        headers = {"authorization": f"Bearer {self.token}"}
        self._session = aiohttp.ClientSession(connector=connector, headers=headers)

    async def close(self) -> None:
        """See `Link.close`."""
        if self._session is not None:
            await self._session.close()

    async def tell(self, kind: Kind, sender: str, body: dict[str, Any]) -> dict[str, Any]:
        """See `Link.tell`."""
        return await self._call("POST", f"/grid/v1/{kind}", TELL_TIMEOUT_S, json=body)

    async def routes(self, after: int, wait_s: float) -> dict[str, Any]:
        """See `Link.routes`."""
        asked = {"after": str(after), "wait_s": str(wait_s)}
        return await self._call("GET", "/grid/v1/routes", wait_s + TELL_TIMEOUT_S, params=asked)

    async def _call(self, method: str, path: str, limit_s: float, **sent: Any) -> dict[str, Any]:
        assert self._session is not None, "open the link first"
        url, limit = self.control_url + path, aiohttp.ClientTimeout(total=limit_s)
        try:
            async with self._session.request(method, url, timeout=limit, **sent) as response:
                response.raise_for_status()
                answer: dict[str, Any] = await response.json()
                return answer
        except aiohttp.ClientResponseError as error:
            raise UnavailableError(
                f"control plane {self.control_url}: {error.status} {error.message}"
            ) from error
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise UnavailableError(f"control plane {self.control_url}: {error!r}") from error
