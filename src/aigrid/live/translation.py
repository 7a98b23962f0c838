"""Other APIs in front of chat completions: what is asked and answered, in their words.

Whatever a request goes through, routing, survival, quotas, metering, it does as the chat request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from aigrid.engines.responses_answers import ResponseWriter
from aigrid.engines.responses_api import PATH as RESPONSES_PATH
from aigrid.engines.responses_api import chat_body, parse_responses
from aigrid.live.attempt import Answer, StreamedAnswer
from aigrid.live.passing import Pieces
from aigrid.live.resume import CHAT_PATH


@dataclass(frozen=True, slots=True)
class Wish:
    """A request as sites read it.

    Attributes:
        path: of the request there.
        body: of the request there.
        writer: writes its answer; None where the client wants it as it is.
    """

    path: str
    body: bytes
    writer: ResponseWriter | None = None

    def answer(self, answer: Answer | StreamedAnswer) -> Answer | StreamedAnswer:
        """The answer in the client's words."""
        if self.writer is None:
            return answer
        if isinstance(answer, StreamedAnswer):
            return replace(answer, chunks=_Translated(answer.chunks, self.writer))
        write = self.writer.body if answer.status == 200 else self.writer.error
        return replace(answer, body=write(answer.body))


def read_wish(path: str, body: bytes) -> Wish:
    """What a client asks for.

    Raises:
        InvalidRequestError: of an API that is translated, it is wrong.
    """
    if path != RESPONSES_PATH:
        return Wish(path, body)
    request = parse_responses(body)
    return Wish(CHAT_PATH, chat_body(request), ResponseWriter(request.echo()))


class _Translated:
    """A chat stream in another API's events."""

    __slots__ = ("_source", "_writer")

    def __init__(self, source: Pieces, writer: ResponseWriter) -> None:
        self._source, self._writer = source, writer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not (out := self._writer.events(await anext(self._source))):
            pass
        return out

    async def aclose(self) -> None:
        """Close the source."""
        await self._source.aclose()
