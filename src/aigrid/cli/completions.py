"""A small OpenAI client for the terminal: fast to import, streams, and says which site answered."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aigrid.core import errors

TIMEOUT_S = 120.0
SITE_HEADER = "x-aigrid-site"
LINE_LIMIT_BYTES = 1 << 20
_BY_STATUS: dict[int, type[errors.AigridError]] = {
    400: errors.InvalidRequestError,
    401: errors.AuthenticationError,
    404: errors.NotFoundError,
    413: errors.TooLargeError,
    429: errors.OverloadedError,
}


@dataclass(slots=True)
class Answer:
    """An answer that streams in; iterate to receive it.

    Attributes:
        site: which site answers.
        text: what has come so far.
        usage: token counts, once the answer is whole.
    """

    site: str
    text: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    _connection: http.client.HTTPConnection | None = None
    _response: http.client.HTTPResponse | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for event in self._events():
                self.usage = event.get("usage") or self.usage
                for choice in event.get("choices", []):
                    piece = choice.get("delta", {}).get("content") or ""
                    self.text += piece
                    yield piece
        finally:
            self.close()

    def _events(self) -> Iterator[dict[str, Any]]:
        """Server-sent events until `[DONE]` (WHATWG HTML, section 9.2)."""
        assert self._response is not None
        while line := _read_line(self._response):
            if not line.startswith(b"data:"):
                continue
            content = line.removeprefix(b"data:").strip()
            if content == b"[DONE]":
                return
            event: dict[str, Any] = json.loads(content)
            if "error" in event:
                raise _error_of(503, event)
            yield event
        raise errors.UnavailableError("the answer broke off", next_step="ask again")

    def close(self) -> None:
        """Hang up; the site stops working on the answer."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(frozen=True, slots=True)
class ChatClient:
    """Sends chat completions.

    Attributes:
        base_url: the endpoint.
        api_key: the customer's key.
        dials: more fields of the request, e.g. `temperature`.
    """

    base_url: str
    api_key: str
    dials: dict[str, Any] = field(default_factory=dict)

    def models(self) -> list[str]:
        """Names of the models that are deployed."""
        connection, response = self._send("GET", "/models", None)
        try:
            return [model["id"] for model in json.loads(response.read())["data"]]
        finally:
            connection.close()

    def ask(self, model: str, messages: list[dict[str, str]]) -> Answer:
        """Ask for an answer, streamed.

        Raises:
            UnavailableError: the grid does not answer.
            AigridError: it refuses; the class follows from the HTTP status.
        """
        body = {"model": model, "messages": messages, "stream": True}
        options = {"stream_options": {"include_usage": True}}
        connection, response = self._send("POST", "/chat/completions", self.dials | body | options)
        site = response.getheader(SITE_HEADER, "unknown site")
        return Answer(site, _connection=connection, _response=response)

    def _send(
        self, method: str, path: str, body: Any
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
        headers = {"authorization": f"Bearer {self.api_key}", "content-type": "application/json"}
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, parts.path + path, content, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise errors.UnavailableError(
                f"the grid at {self.base_url} does not answer: {error}",
                next_step="see `aigrid status`",
            ) from error
        if response.status != 200:
            raise _error_of(response.status, _decoded(response.read()))
        return connection, response


def _read_line(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.readline(LINE_LIMIT_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise errors.UnavailableError(
            f"the answer broke off: {error}", next_step="ask again"
        ) from error


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return {"error": {"message": raw[:200].decode(errors="replace")}}


def _error_of(status: int, answer: Any) -> errors.AigridError:
    told = answer.get("error", {}) if isinstance(answer, dict) else {}
    message = str(told.get("message", answer) if isinstance(told, dict) else told)
    return _BY_STATUS.get(status, errors.UnavailableError)(message)
