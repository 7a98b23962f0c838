"""The door of a control plane for sites of other machines: TLS, and a certificate for each site.

Without a certificate only an invitation can be used up, for one. With one, a site reports for
itself alone and pulls packages; nothing else answers here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aigrid.core.codec import from_plain
from aigrid.core.errors import AigridError, AuthenticationError, InvalidRequestError
from aigrid.core.site import Site
from aigrid.live import reports, server
from aigrid.live.control_plane import ControlPlane
from aigrid.live.fabric.authority import FabricAuthority
from aigrid.live.fabric.nkeys import is_public
from aigrid.live.fabric.rights import SITE_KINDS, subject_of
from aigrid.live.wide.certificates import DAYS, Authority
from aigrid.live.wide.invited import Invitations
from aigrid.live.wide.peers import peer_of
from aigrid.store.served import registry_app

BODY_LIMIT_BYTES = 1024 * 1024
HOSTS_LIMIT = 8
T = TypeVar("T", bound="_Strict")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EnterRequest(_Strict):
    """A site with an invitation asks for its certificate, and its pass for the fabric."""

    secret: Annotated[str, Field(max_length=200)]
    site: dict[str, Any]
    csr: Annotated[str, Field(max_length=8192)]
    hosts: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=HOSTS_LIMIT)]
    fabric_key: Annotated[str, Field(max_length=100)] = ""


class RenewRequest(_Strict):
    """A site asks for its next certificate."""

    csr: Annotated[str, Field(max_length=8192)]
    hosts: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=HOSTS_LIMIT)]
    fabric_key: Annotated[str, Field(max_length=100)] = ""


@dataclass(slots=True)
class Door:
    """Answers sites of other machines.

    Attributes:
        plane: the control plane.
        authority: signs.
        invitations: that stand.
        trusted_keys: public key files of the store, for sites.
        fabric: URL of NATS; empty for this door's own HTTP.
        url: of this door, for invitations.
        passes: signs what sites show to NATS; None without it.
    """

    plane: ControlPlane
    authority: Authority
    invitations: Invitations
    trusted_keys: Sequence[Path]
    fabric: str = ""
    url: str = ""
    passes: FabricAuthority | None = None

    def app(self) -> Starlette:
        """The ASGI application; serve it with `wide.peers.tls_server`."""
        registry = _Members(self, registry_app(self.plane.store, self.plane.tokens.grid))
        return Starlette(
            routes=[
                Route("/enter/v1/certificate", self.enter, methods=["POST"]),
                Route("/grid/v1/renew", self.renew, methods=["POST"]),
                Route("/grid/v1/{kind}", self.report, methods=["POST"]),
                Mount("/", registry),
            ],
            exception_handlers={AigridError: server.refuse},
        )

    def invite(self, site: str, for_s: float) -> str:
        """A token by which one site joins once."""
        return self.invitations.invite(
            self.url, self.authority.der, site, time.time(), for_s
        ).token()

    def dismiss(self, site: str) -> None:
        """Let a site's certificate count no longer."""
        self.invitations.dismiss(site, time.time())

    async def enter(self, request: Request) -> Response:
        """Use an invitation up for a certificate."""
        asked = await _read(request, EnterRequest)
        site: Site = from_plain(Site, asked.site, "enter")
        hosts = _checked(asked.hosts)
        await asyncio.to_thread(self.invitations.use, asked.secret, site.name, time.time())
        certificate = self.authority.sign_request(asked.csr.encode(), site.name, "site", hosts)
        return JSONResponse(
            {
                "certificate": certificate.decode(),
                "fabric": self.fabric,
                "fabric_token": await self._pass(site.name, asked.fabric_key),
                "trusted_keys": [path.read_text() for path in self.trusted_keys],
            }
        )

    async def renew(self, request: Request) -> Response:
        """The next certificate of a site that shows one."""
        name = await self.member(request.scope)
        asked = await _read(request, RenewRequest)
        hosts = _checked(asked.hosts)
        certificate = self.authority.sign_request(asked.csr.encode(), name, "site", hosts)
        told = {"certificate": certificate.decode(), "fabric": self.fabric}
        return JSONResponse(told | {"fabric_token": await self._pass(name, asked.fabric_key)})

    async def _pass(self, site: str, key: str) -> str:
        """What the holder of a key may on the fabric; empty without one.

        Raises:
            InvalidRequestError: it is no user's key.
        """
        if self.passes is None or not key:
            return ""
        if not is_public(key, "user"):
            raise InvalidRequestError("fabric_key is no NATS key of a user")
        now_s = time.time()
        await asyncio.to_thread(self.invitations.note_key, key, site, now_s)
        return self.passes.token("site", site, key, now_s, now_s + DAYS * 86400.0)

    async def report(self, request: Request) -> Response:
        """A site's report on itself."""
        name = await self.member(request.scope)
        kind = request.path_params["kind"]
        if kind not in SITE_KINDS:
            raise InvalidRequestError(
                f"sites do not report {kind!r}", next_step=", ".join(SITE_KINDS)
            )
        body = await _body(request)
        if subject_of(kind, body) != name:
            raise AuthenticationError(
                f"site {name!r} reports for another", next_step="each site reports for itself"
            )
        return JSONResponse(await reports.take(self.plane, kind, body))

    async def member(self, scope: Scope) -> str:
        """Name of the site that asks.

        Raises:
            AuthenticationError: no certificate, no site's, or of a site that was dismissed.
        """
        peer = peer_of(scope)
        if peer.role != "site" or self.invitations.is_dismissed(peer.name):
            raise AuthenticationError(
                "this door is for sites with a certificate of this grid",
                next_step="aigrid site join TOKEN",
            )
        return peer.name


class _Members:
    """Lets sites through to the registry, with the token that it asks for."""

    def __init__(self, door: Door, app: ASGIApp) -> None:
        self._door, self._app = door, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._door.member(scope)
        except AuthenticationError as error:
            await server.refuse(Request(scope), error)(scope, receive, send)
            return
        token = f"Bearer {self._door.plane.tokens.grid}".encode()
        headers = [(k, v) for k, v in scope["headers"] if k != b"authorization"]
        await self._app({**scope, "headers": [*headers, (b"authorization", token)]}, receive, send)


async def _body(request: Request) -> Any:
    raw = await server.read_body(request, BODY_LIMIT_BYTES)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{request.url.path}: {error}") from error


async def _read(request: Request, model: type[T]) -> T:
    try:
        return model.model_validate(await _body(request))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidRequestError(f"{request.url.path}: {where}: {first['msg']}") from error


def _checked(hosts: list[str]) -> list[str]:
    """Names that a certificate may carry."""
    for host in hosts:
        plain = host.replace("-", "").replace(".", "").isalnum() and host.isascii()
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if not plain:
                raise InvalidRequestError(
                    f"host {host!r} is neither an address nor a name"
                ) from None
    return hosts
