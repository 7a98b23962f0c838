"""The store as a read-only OCI registry, so that sites pull from the control plane.

OCI distribution specification 1.1: the pull half, tags, and the referrers API. One bearer token
opens it; without the token nothing is told, not even what exists.
"""

from __future__ import annotations

import hmac
import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from aigrid.core.errors import AigridError, NotFoundError
from aigrid.core.package import OCI_INDEX, OCI_MANIFEST, canonical_json
from aigrid.store.references import check_name, is_digest
from aigrid.store.store import Store

_VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}
_NAME = "{name:path}"


def registry_app(store: Store, token: str) -> Starlette:
    """An ASGI application for the store's packages; mount it or serve it at the root of a host.

    Args:
        store: what to serve; published packages only are found by tag.
        token: the bearer token that every request must carry.
    """

    def base(request: Request) -> Response:
        return JSONResponse({}, headers=_VERSION)

    def tags(request: Request) -> Response:
        name = request.path_params["name"]
        found = [r.version for r in store.catalogue.versions(name)]
        if not found:
            raise NotFoundError(f"no package {name!r}")
        return JSONResponse({"name": name, "tags": found}, headers=_VERSION)

    def manifest(request: Request) -> Response:
        name, reference = request.path_params["name"], request.path_params["reference"]
        digest = reference
        if not is_digest(reference):
            check_name(name, reference, "the request")
            digest = store.catalogue.get(name, reference).digest
        content = store.layout.read_blob(digest, what="manifest")
        headers = {**_VERSION, "Docker-Content-Digest": digest}
        return Response(content, media_type=_media_type(content), headers=headers)

    def blob(request: Request) -> Response:
        digest = request.path_params["digest"]
        if not is_digest(digest) or not store.layout.has(digest):
            raise NotFoundError(f"no blob {digest!r}")
        headers = {**_VERSION, "Docker-Content-Digest": digest}
        path = store.layout.blob_path(digest)
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    def referrers(request: Request) -> Response:
        digest = request.path_params["digest"]
        wanted = request.query_params.get("artifactType", "")
        entries = store.layout.referrers(digest, wanted) if is_digest(digest) else []
        content = canonical_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        filtered = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
        return Response(content, media_type=OCI_INDEX, headers={**_VERSION, **filtered})

    app = Starlette(
        routes=[
            Route("/v2/", base),
            Route(f"/v2/{_NAME}/tags/list", tags),
            Route(f"/v2/{_NAME}/manifests/{{reference}}", manifest),
            Route(f"/v2/{_NAME}/blobs/{{digest}}", blob),
            Route(f"/v2/{_NAME}/referrers/{{digest}}", referrers),
        ],
        exception_handlers={AigridError: _failed},
    )
    app.add_middleware(_TokenGate, token=token)
    return app


class _TokenGate:
    """Answers 401 unless the request carries the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._admits(scope):
            refused = _errors("UNAUTHORIZED", "a bearer token is needed", 401)
            refused.headers["WWW-Authenticate"] = "Bearer"
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        sent = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(sent, self._expected)


def _failed(request: Request, error: Exception) -> Response:
    """The specification's error body, with our status."""
    if not isinstance(error, AigridError):
        raise error
    code = "NOT_FOUND" if error.http_status == 404 else error.code.upper()
    if error.http_status == 404 and "/manifests/" in request.url.path:
        code = "MANIFEST_UNKNOWN"
    if error.http_status == 404 and "/blobs/" in request.url.path:
        code = "BLOB_UNKNOWN"
    return _errors(code, str(error), error.http_status)


def _errors(code: str, message: str, status: int) -> Response:
    body = {"errors": [{"code": code, "message": message}]}
    return JSONResponse(body, status_code=status, headers=_VERSION)


def _media_type(content: bytes) -> str:
    manifest: dict[str, Any] = json.loads(content)
    return str(manifest.get("mediaType", OCI_MANIFEST))
