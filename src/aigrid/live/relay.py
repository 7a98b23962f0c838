"""One request on its way over as many sites as it takes; the client sees one answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Self

from aigrid.control import retry
from aigrid.control.trial import Trial
from aigrid.core.errors import AigridError, OverloadedError, UnavailableError
from aigrid.engines.openai_answers import DONE, error_event
from aigrid.live.attempt import Answer, Attempt, StreamedAnswer, TryNextError
from aigrid.live.frames import RESUME_PATH, Relay
from aigrid.live.limits import Limits
from aigrid.live.links import Link, Links
from aigrid.live.trials import note, ways


@dataclass(slots=True)
class Journey:
    """Tries candidates in order, again and again, and goes on where one breaks off.

    Attributes:
        attempt: the request.
        links: opens it at a site.
        limits: how long, how often.
        on_retry: called with the site and the reason when one could not answer or go on.
        may_retry: takes one retry from the gateway's budget; 0, or how long to wait for it.
        on_end: called once with what came of it, a status, `broken` or `left`, and with how often
            it was continued.
        relay: what the client has so far.
        began_s: on the monotonic clock.
        trial: of the version that answers, where a new one is on trial.
        left: sites that broke off or gave it up: all others are asked first.
        resumes: times that it was continued.
    """

    attempt: Attempt
    links: Links
    limits: Limits
    on_retry: Callable[[str, TryNextError], None]
    may_retry: Callable[[], float]
    on_end: Callable[[str, int], None]
    trial: Trial | None = None
    relay: Relay = field(default_factory=Relay)
    began_s: float = field(default_factory=time.monotonic)
    left: list[str] = field(default_factory=list)
    resumes: int = 0
    _site: str = ""
    _version: str = ""
    _broke: str = ""
    _wait_s: float = 0.0

    async def begin(self) -> Answer | StreamedAnswer:
        """The answer, or its beginning.

        Raises:
            NotFoundError: the service is not deployed.
            OverloadedError: every candidate's line is full, for `try_for_s`.
            UnavailableError: nobody serves it, could be reached, or could end it, likewise.
        """
        try:
            found = await self._next_site()
            if isinstance(found, Answer):
                self._arrive(found)
                self._end(str(found.status))
                return found
            outs = self._outs(found)
            first = await anext(outs)
        except BaseException:
            self._end("failed")
            raise
        if isinstance(first, bytes) and self.attempt.stream and not self.relay.refused:
            return StreamedAnswer(self._site, _ToClient(first, outs, self._end), self.relay)
        await outs.aclose()
        answer = first if isinstance(first, Answer) else self._in_one(first)
        self._end(str(answer.status))
        return answer

    def _end(self, status: str) -> None:
        self.on_end(status, self.resumes)

    def _in_one(self, event: bytes) -> Answer:
        relay = self.relay
        body = event.removeprefix(b"data: ").rstrip(b"\n")
        usage = (relay.prompt_tokens, relay.completion_tokens)
        return Answer(self._site, relay.refused or 200, body, {}, usage, relay.package)

    def _arrive(self, found: Link | Answer) -> None:
        self._site = found.site
        self.attempt.ran.append(found.site)

    async def _outs(self, first: Link) -> AsyncGenerator[bytes | Answer, None]:
        """Whole events, from one site after the other; or the one answer that came in one piece."""
        found: Link | Answer | None = first
        while not self.relay.ended:
            found = found or await self._next_site()
            self._arrive(found)
            if isinstance(found, Answer):
                if self.relay.begun and self.attempt.stream:
                    said = f"{self._broke}; {found.site} answered {found.status}"
                    raise UnavailableError(said, next_step="send it again")
                yield found
                return
            try:
                async with aclosing(self._read(found)) as outs:
                    async for out in outs:
                        yield out
            except TryNextError as reason:
                found.flight.span.fail(reason.kind, str(reason))
                self._leave(found.site, reason)
            finally:
                found.close(ended=self.relay.ended)
            found = None

    async def _read(self, link: Link) -> AsyncGenerator[bytes, None]:
        """What one site adds.

        Raises:
            TryNextError: it cannot go on, others may.
            UnavailableError: the whole takes too long.
        """
        relay, heard_s = self.relay, time.monotonic()
        while True:
            piece = await link.read()
            begun, told = relay.begun, (len(relay.parts), relay.inputs)
            out = relay.feed(piece)
            if relay.refused:
                relay.ended = True
                yield out + DONE if begun else out
                return
            if out or (len(relay.parts), relay.inputs) != told:
                heard_s = time.monotonic()
            if self.trial is not None and relay.completion_tokens:
                self.trial.hear(relay.package, time.monotonic())
            if out:
                yield out
            if relay.ended:
                return
            self._check(heard_s)

    def _check(self, heard_s: float) -> None:
        relay, limits, now_s = self.relay, self.limits, time.monotonic()
        if relay.moved:
            raise TryNextError(relay.moved, engine=relay.failed)
        if relay.overlong:
            raise TryNextError("sends an event without end", faulty=True)
        if not (relay.begun or relay.inputs) and now_s - self.began_s > limits.first_token_s:
            raise _too_long(self.attempt, f"no token within {limits.first_token_s:.0f} s")
        if now_s - self.began_s > limits.whole_s:
            raise _too_long(self.attempt, f"not ended within {limits.whole_s:.0f} s")
        if now_s - heard_s > limits.idle_s and (relay.begun or self._has_untried()):
            raise TryNextError(f"made no text for {limits.idle_s:.0f} s", faulty=True)

    def _has_untried(self) -> bool:
        return any(site not in self.left and site != self._site for site, _ in self._candidates())

    def _leave(self, site: str, reason: TryNextError) -> None:
        """A link has ended before the answer."""
        self.links.mirror.health.note(site, self._asking(self._version).replica, reason)
        self.left.append(site)
        relay = self.relay
        if not self.attempt.stream and not relay.known:
            self._begin_anew()
        elif relay.begun:
            self.resumes += 1
            self._broke = f"site {site} broke off in mid-answer: {reason}"
            if not relay.known or self.resumes > self.limits.resumes:
                raise UnavailableError(self._broke, next_step="send it again") from reason
        self.relay.next_site()
        self._note(site, reason)

    def _begin_anew(self) -> None:
        """Nothing was sent of an answer in one piece; inputs done show that it can be had."""
        self.relay = Relay(sites=self.relay.sites, inputs=self.relay.inputs)

    def _note(self, site: str, reason: TryNextError) -> None:
        self.attempt.tried.append(site)
        if self.trial is not None:
            note(self.trial, self._version, reason)
        self.on_retry(site, reason)
        self._wait_s = self.may_retry()

    async def _next_site(self) -> Link | Answer:
        """The first candidate that takes the request, or the rest of it."""
        limit_s = self.limits.resume_s if self.relay.begun else self.limits.try_for_s
        deadline_s, rounds = time.monotonic() + limit_s, 0
        path, body = self._asked()
        while True:
            found = await self._round(path, body, deadline_s)
            if not isinstance(found, TryNextError):
                return found
            if found.absent and self.relay.begun and not self.attempt.stream:
                # Its version is on its way out of the grid: another can give the whole.
                self._begin_anew()
                path, body = self._asked()
                continue
            if time.monotonic() > deadline_s:
                raise self._gave_up(found, limit_s)
            pause_s = retry.pause_s(rounds)
            if found.busy and not self.relay.begun and self.attempt.again is not None:
                with self.attempt.span.begin("turn"):
                    await self.attempt.again(pause_s, deadline_s - time.monotonic())
            else:
                await asyncio.sleep(pause_s)
            rounds += 1

    def _asked(self) -> tuple[str, bytes]:
        """The request, or the one to go on with its answer."""
        path, body = self.attempt.path, self.attempt.body
        if not self.relay.begun:
            return path, body
        return RESUME_PATH, self.relay.resume_body(path, body)

    async def _round(
        self, path: str, body: bytes, deadline_s: float
    ) -> Link | Answer | TryNextError:
        """One pass over the candidates; `absent` where any of them says so."""
        attempt, last, absent = self.attempt, TryNextError("no site serves it now"), False
        with attempt.span.begin("choose") as choosing:
            sites = self._candidates()
            choosing.set({"aigrid.sites": [site for site, _ in sites]})
        for site, self._version in sites:
            if not await self._may_try(deadline_s):
                break
            try:
                return await self.links.open(site, self._asking(self._version), path, body)
            except TryNextError as reason:
                last = last if last.busy else reason
                absent = absent or reason.absent
                self._note(site, reason)
        last.absent = absent
        return last

    def _candidates(self) -> list[tuple[str, str]]:
        """Sites, and which version to ask each for."""
        package = self.relay.package if self.relay.begun else ""
        sites = ways(self.links.mirror, self.attempt, self.trial, package)
        return sorted(sites, key=lambda way: way[0] in self.left) if self.left else sites

    def _asking(self, version: str) -> Attempt:
        return replace(self.attempt, version=version) if version else self.attempt

    async def _may_try(self, deadline_s: float) -> bool:
        """Wait for the gateway's budget; the first try waits for nothing."""
        while self._wait_s > 0.0:
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(self._wait_s)
            self._wait_s = self.may_retry()
        return True

    def _gave_up(self, reason: TryNextError, tried_s: float) -> AigridError:
        kind = OverloadedError if reason.busy else UnavailableError
        before = f"{self._broke}; then" if self._broke else f"model {self.attempt.service!r}"
        return kind(
            f"{before}: {reason} (tried for {tried_s:.0f} s)",
            next_step="try again in a moment; `aigrid status` shows the sites",
        )


class _ToClient:
    """What goes out to the client; however it ends, begun or not, its end is told once."""

    __slots__ = ("_first", "_on_end", "_outs", "_over")

    def __init__(
        self,
        first: bytes,
        outs: AsyncGenerator[bytes | Answer, None],
        on_end: Callable[[str], None],
    ) -> None:
        self._first, self._outs, self._on_end = first, outs, on_end
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        try:
            while not isinstance(out := await anext(self._outs), bytes):
                pass
            return out
        except StopAsyncIteration:
            self._finish("200")
            raise
        except AigridError as error:
            self._finish("broken")
            return error_event(error)
        except BaseException:
            self._finish("left")
            raise

    async def aclose(self) -> None:
        """The client has left, or has all."""
        try:
            await self._outs.aclose()
        finally:
            self._finish("left")

    def _finish(self, status: str) -> None:
        if not self._over:
            self._over = True
            self._on_end(status)


def _too_long(attempt: Attempt, what: str) -> UnavailableError:
    return UnavailableError(f"model {attempt.service!r}: {what}", next_step="ask for less at once")
