"""The gateway's OpenAPI document: made of the models that read its requests."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aigrid.engines import embeddings_api, openai_api, responses_api
from aigrid.engines.embedding import INPUTS_LIMIT
from aigrid.live.refusals import STATUSES, ErrorBody

PATH = "/openapi.json"
# Requests that are read; what is not here takes none.
BODIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": openai_api.ChatRequest,
    "/v1/completions": openai_api.CompletionRequest,
    embeddings_api.PATH: embeddings_api.EmbeddingRequest,
    responses_api.PATH: responses_api.ResponsesRequest,
}
NEUTRAL: dict[type[BaseModel], dict[str, tuple[Any, ...]]] = {
    openai_api.ChatRequest: openai_api.NEUTRAL,
    openai_api.CompletionRequest: openai_api.NEUTRAL,
    responses_api.ResponsesRequest: responses_api.NEUTRAL,
}
STREAMED = ("/v1/chat/completions", "/v1/completions", responses_api.PATH)
OPEN = ("/v1/health/live", "/v1/health/ready", "/metrics", PATH)
# Read before its type is checked: a text stands for a list of one, a prompt is a text or token ids.
_TEXT = {"type": "string"}
_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_ONE: list[dict[str, Any]] = [_TEXT | {"minLength": 1}, _TOKENS]


def document(routes: Iterable[Any]) -> dict[str, Any]:
    """OpenAPI 3.1 of an application's routes.

    Args:
        routes: of Starlette; each endpoint's docstring is its summary.
    """
    schemas: dict[str, Any] = {}
    schemas["ErrorBody"] = _schema_of(ErrorBody, schemas)
    paths = {_plain(r.path): _path(r, schemas) for r in routes if isinstance(r, Route)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "aigrid gateway", "version": version("aigrid")},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def endpoint(routes: Iterable[Any]) -> Route:
    """The route that serves the document; made once."""
    made = document([*routes, Route(PATH, lambda request: Response(), methods=["GET"])])

    async def openapi(request: Any) -> Response:
        """This document."""
        return JSONResponse(made)

    return Route(PATH, openapi)


def _plain(path: str) -> str:
    return path.replace(":path}", "}")


def _path(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    methods = sorted((route.methods or set()) - {"HEAD"})
    return {method.lower(): _operation(route, method, schemas) for method in methods}


def _operation(route: Route, method: str, schemas: dict[str, Any]) -> dict[str, Any]:
    said = (route.endpoint.__doc__ or "").strip().splitlines()
    operation: dict[str, Any] = {"summary": said[0] if said else "", "responses": _responses(route)}
    if route.path not in OPEN:
        operation["security"] = [{"key": []}]
    if "{" in route.path:
        name = route.path.partition("{")[2].partition(":")[0].rstrip("}")
        operation["parameters"] = [{"name": name, "in": "path", "required": True, "schema": _TEXT}]
    body = BODIES.get(route.path)
    if body is not None and method == "POST":
        content = {"application/json": {"schema": _schema(body, schemas)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(route: Route) -> dict[str, Any]:
    kinds = ["text/plain"] if route.path == "/metrics" else ["application/json"]
    if route.path in STREAMED:
        kinds.append("text/event-stream")
    answers: dict[str, Any] = {
        "200": {"description": "the answer", "content": {kind: {} for kind in kinds}}
    }
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    return answers | {
        str(status): {"description": said, "content": error} for status, said in STATUSES.items()
    }


def _schema_of(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    made = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= made.pop("$defs", {})
    return made


def _schema(body: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    """The model's schema, with what its validators and the neutral parameters let in as well."""
    made = _schema_of(body, schemas)
    if body is embeddings_api.EmbeddingRequest:
        made["properties"]["input"] = {"anyOf": [*_ONE, _several(_ONE)]}
    else:
        _let_in(body, made, schemas)
    schemas[body.__name__] = made
    return {"$ref": f"#/components/schemas/{body.__name__}"}


def _several(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """A list of inputs of one kind."""
    limits = {"minItems": 1, "maxItems": INPUTS_LIMIT}
    return {"anyOf": [{"type": "array", "items": kind, **limits} for kind in kinds]}


def _let_in(body: type[BaseModel], made: dict[str, Any], schemas: dict[str, Any]) -> None:
    """What validators and the neutral parameters let in as well."""
    for name, values in NEUTRAL.get(body, {}).items():
        made["properties"].setdefault(name, {"enum": [None, *values]})
    _also(made["properties"], "stop", _TEXT | {"minLength": 1})
    _also(made["properties"], "input", _TEXT)
    if "prompt" in made["properties"]:
        made["properties"]["prompt"] = {"anyOf": [_TEXT, _TOKENS]}
    for inner in schemas.values():
        for name in ("content", "output"):
            _also(inner.get("properties", {}), name, _TEXT)


def _also(properties: dict[str, Any], name: str, other: dict[str, Any]) -> None:
    """Let a text stand for a list."""
    made = properties.get(name)
    if made is None:
        return
    kinds = made.pop("anyOf", None) or [made]
    if other not in kinds and any(kind.get("type") == "array" for kind in kinds):
        properties[name] = {"anyOf": [other, *kinds]}
