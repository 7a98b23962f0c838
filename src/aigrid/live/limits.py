"""Every limit of the data path, in one place; what happens at each stands beside it."""

from __future__ import annotations

from dataclasses import dataclass

from aigrid.control.handover import RESUMES

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a gateway and its sites put up with.

    Attributes:
        body_bytes: of a request; over it: 413.
        open_requests: that one gateway has open at once; over it: 429.
        waiting: requests for one service that wait at a gateway for their turn, in fair order;
            over it: 429 for the lowest class.
        site_queue: jobs that wait in line for one service of a site; over it: 429, and the gateway
            tries the next site.
        connect_s: until a site takes a connection; over it: the next site.
        silent_s: a site that says nothing for so long, not even that it is alive: the next site.
        upload_bytes_s: slowest rate at which a site must take a body, on top of `silent_s`.
        try_for_s: all sites are full, paused or gone for so long: 429 or 503.
        first_token_s: from the request to the first text; over it: 503.
        idle_s: an answer whose site is alive but makes no text of it for so long: it is continued
            elsewhere, or begun elsewhere while there are sites that were not tried.
        whole_s: from the request to the end of the answer; over it: an error ends the answer.
        resume_s: a broken answer finds no site to go on for so long: an error ends it.
        resumes: times that one answer is continued elsewhere; one more: an error ends it.
        retry_share: retries that a gateway makes at most, as a share of its requests...
        retry_burst: ... over a stock of so many; without stock a retry waits, see `retry_per_s`.
        retry_per_s: retries a second that it may always make.
        request_s: until a request is whole, from its first byte or its connection; over it: 408.
        reader_s: a client that takes nothing of a full send buffer for so long is cut off.
        kept_answers: answers to requests with an idempotency key; over it the oldest go.
        kept_bytes: of them together; likewise.
        kept_answer_bytes: of one; a longer one is not kept.
        kept_s: how long they are kept.
        kept_waiters: requests that wait for one with the same key; over it: 429.
        answer_bytes: of a whole answer; over it: 502 from the next site on, then 503.
    """

    body_bytes: int = 4 * MIB
    open_requests: int = 8192
    waiting: int = 1024
    site_queue: int = 256
    connect_s: float = 1.0
    silent_s: float = 1.5
    upload_bytes_s: float = 8.0 * MIB
    try_for_s: float = 30.0
    first_token_s: float = 120.0
    idle_s: float = 30.0
    whole_s: float = 900.0
    resume_s: float = 30.0
    resumes: int = RESUMES
    retry_share: float = 0.2
    retry_burst: int = 256
    retry_per_s: float = 50.0
    request_s: float = 60.0
    reader_s: float = 30.0
    kept_answers: int = 100_000
    kept_bytes: int = 256 * MIB
    kept_answer_bytes: int = 4 * MIB
    kept_s: float = 24 * 3600.0
    kept_waiters: int = 1024
    answer_bytes: int = 64 * MIB
