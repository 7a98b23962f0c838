"""What a recorded run holds on disk: rows in files that rotate, no content, no keys."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from tests.live.conftest import KEY, Rig
from tests.live.test_gateway import ask, client, closed_url, post

from aigrid.core import run_record
from aigrid.core.errors import ConflictError, StorageError
from aigrid.core.run_record import DropRow, HostRow, JobRow, RequestRow, Row
from aigrid.core.site import Site
from aigrid.engines.engine import Job, Message, Sampling
from aigrid.engines.scripted import Script, ScriptedEngine
from aigrid.live import run_log
from aigrid.live.attempt import Attempt, StreamedAnswer
from aigrid.live.frames import Relay
from aigrid.live.request_log import RequestLog
from aigrid.live.run_log import RunLog, begin, key_of
from aigrid.live.site_log import WatchedEngine
from aigrid.radio.topology import PlannedSite

RigMaker = Callable[..., Rig]
SITES = (PlannedSite(Site("hub-1", "hub", "r")),)


def rows_in(folder: Path, name: str) -> list[Row]:
    lines = [text for path in sorted(folder.glob(name)) for text in path.read_text().splitlines()]
    return [run_record.decode(json.loads(line), name) for line in lines]


def nothing() -> list[Row]:
    return []


def test_rows_are_written_when_the_log_closes(tmp_path: Path) -> None:
    log = RunLog(tmp_path, "requests", nothing)
    rows = [HostRow(float(number), 0.5) for number in range(1000)]
    for row in rows:
        log.note(row)
    log.close()
    assert rows_in(tmp_path, "requests-*.jsonl") == rows


def test_a_full_line_drops_rows_and_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "LINE_LIMIT", 10)
    monkeypatch.setattr(run_log, "PERIOD_S", 60.0)
    log = RunLog(tmp_path, "requests", nothing)
    for number in range(25):
        log.note(HostRow(float(number), 0.5))
    log.close()
    *kept, drop = rows_in(tmp_path, "requests-*.jsonl")
    assert len(kept) == 10
    assert isinstance(drop, DropRow) and drop.rows == 15


def test_files_rotate_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "FILE_LIMIT_BYTES", 100)
    monkeypatch.setattr(run_log, "FILES_KEPT", 3)
    monkeypatch.setattr(run_log, "PERIOD_S", 0.01)
    numbers = iter(range(10_000))
    done = threading.Event()

    def sample() -> list[Row]:
        number = next(numbers)
        if number >= 8:
            done.set()
            return []
        return [HostRow(float(number), load) for load in (0.1, 0.2, 0.3)]

    log = RunLog(tmp_path, "site-a", sample)
    assert done.wait(10)
    log.close()
    files = list(tmp_path.glob("site-a-*.jsonl"))
    assert 1 <= len(files) <= 3
    assert max(row.at_s for row in rows_in(tmp_path, "site-a-*.jsonl")) == 7.0  # type: ignore[union-attr]


def test_a_disk_that_fails_ends_the_recording_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = RunLog(tmp_path / "gone", "requests", nothing)
    log.note(HostRow(1.0, 0.5))
    log.close()
    log.note(HostRow(2.0, 0.5))
    assert "ends" in caplog.text


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    begin(tmp_path / "run", "c0ffee", SITES)
    head = json.loads((tmp_path / "run" / "run.json").read_text())
    assert head["commit"] == "c0ffee" and head["sites"][0]["name"] == "hub-1"
    with pytest.raises(ConflictError, match="holds a recorded run"):
        begin(tmp_path / "run", "c0ffee", SITES)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        begin(tmp_path / "file" / "run", "c0ffee", SITES)


def recorded(rig: Rig, folder: Path, work: Callable[[], Any]) -> list[RequestRow]:
    rig.gateway_state.log = RequestLog.to_folder(str(folder))
    work()
    time.sleep(0.05)  # the end of a stream is noted after its client has read it
    rig.gateway_state.log.close()
    return [row for row in rows_in(folder, "requests-*.jsonl") if isinstance(row, RequestRow)]


def test_each_request_is_noted_once_with_its_times(rig: RigMaker, tmp_path: Path) -> None:
    built = rig(one=Script(first_token_s=0.05, token_s=0.02))

    def work() -> None:
        with client(built) as api:
            for stream in (False, True):
                answer = api.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "my secret"}], stream=stream
                )
                if stream:
                    list(answer)

    whole, stream = recorded(built, tmp_path, work)
    assert (whole.status, whole.site, whole.stream, whole.ttft_s) == (200, "one", False, -1.0)
    assert (stream.status, stream.site, stream.stream) == (200, "one", True)
    assert 0.05 <= stream.ttft_s < stream.duration_s
    assert whole.origin == "*" and whole.retries == 0
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "secret" not in text and KEY not in text


def test_sites_tried_in_vain_and_refusals_are_noted(rig: RigMaker, tmp_path: Path) -> None:
    built = rig(gone=closed_url(), one=Script())
    rows = recorded(built, tmp_path, lambda: [post(built, ask()) for _ in range(2)])
    assert [row.status for row in rows] == [200, 200]
    assert sum(row.retries for row in rows) >= 1
    assert {row.site for row in rows} == {"one"}


def test_a_model_that_is_not_deployed_is_noted_as_refused(rig: RigMaker, tmp_path: Path) -> None:
    built = rig(one=Script())
    body = json.dumps({"model": "other", "messages": [{"role": "user", "content": "x"}]}).encode()
    (row,) = recorded(built, tmp_path, lambda: post(built, body))
    assert (row.status, row.site, row.service) == (404, "", "other")


@pytest.mark.parametrize(("pieces", "read", "status"), [(3, 3, 200), (3, 2, 499), (2, 2, 502)])
def test_how_a_stream_ended_is_told(pieces: int, read: int, status: int, tmp_path: Path) -> None:
    """A client that leaves with the last event in hand has a whole answer."""
    log = RequestLog.to_folder(str(tmp_path))
    sent = (b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n")[:pieces]

    async def chunks() -> AsyncIterator[bytes]:
        for piece in sent:
            yield piece

    async def give() -> StreamedAnswer:
        return StreamedAnswer("one", chunks(), Relay())

    async def run() -> None:
        attempt = Attempt("id", "/v1/completions", b"", "m", True, "*")
        answer = await log.noted(attempt, True, give())
        assert isinstance(answer, StreamedAnswer)
        stream = cast(AsyncGenerator[bytes, None], answer.chunks)
        for _ in range(read):
            await anext(stream)
        if pieces == 3:
            await stream.aclose()
        else:
            assert [piece async for piece in stream] == []

    asyncio.run(run())
    log.close()
    (row,) = [r for r in rows_in(tmp_path, "requests-*.jsonl") if isinstance(r, RequestRow)]
    assert row.status == status


def test_an_unknown_origin_is_noted_as_none(rig: RigMaker, tmp_path: Path) -> None:
    built = rig(one=Script())

    def work() -> None:
        for origin in ("one", "my house"):
            with client(built, default_headers={"x-aigrid-origin": origin}) as api:
                api.completions.create(model="m", prompt="hi")

    assert [row.origin for row in recorded(built, tmp_path, work)] == ["one", "*"]


def test_many_at_once_are_all_noted(rig: RigMaker, tmp_path: Path) -> None:
    built = rig(one=Script(first_token_s=0.01), two=Script(first_token_s=0.01))

    def work() -> None:
        with ThreadPoolExecutor(16) as pool:
            assert {got[0] for got in pool.map(lambda _: post(built, ask()), range(64))} == {200}

    rows = recorded(built, tmp_path, work)
    assert len(rows) == len({row.key for row in rows}) == 64


def jobs_of(engine_job: Job, script: Script, read: int | None = None) -> list[JobRow]:
    noted: list[Any] = []

    async def run() -> None:
        chunks = WatchedEngine("m", ScriptedEngine(script), noted.append).generate(engine_job)
        count = 0
        async for _ in chunks:
            count += 1
            if count == read:
                await chunks.aclose()
                break

    asyncio.run(run())
    return noted


def test_a_job_is_noted_with_its_tokens() -> None:
    job = Job("id-1", Sampling(), messages=(Message("user", "one two three"),))
    (row,) = jobs_of(job, Script())
    assert (row.key, row.service) == (key_of("id-1"), "m")
    assert (row.prompt_tokens, row.tokens) == (3, 5)
    assert row.began_s <= row.first_s <= row.ended_s


def test_a_job_given_up_is_noted_with_what_it_made() -> None:
    job = Job("id-1", Sampling(), messages=(Message("user", "one two three"),))
    (row,) = jobs_of(job, Script(), read=2)
    assert row.tokens == 2


def test_a_client_chosen_id_stays_out() -> None:
    assert "anna" not in key_of("anna's request") and key_of("a") != key_of("b")
