import math
import multiprocessing
import os
import signal
import time

import pytest

from aigrid.core.errors import ConflictError, StorageError, UnavailableError
from aigrid.radio.counters import RUNNING, RadioCounters, RadioStatus


def _status(count):
    return RadioStatus(count, count, count, RUNNING, 1, next_slot_ns=count, load=float(count))


def test_a_reader_sees_what_the_writer_wrote(tmp_path):
    path = tmp_path / "deep" / "radio.bin"
    with RadioCounters.create(path) as writer, RadioCounters.open(path) as reader:
        assert reader.read() == RadioStatus()
        for count in (1, 2, 3):
            writer.write(_status(count))
            assert reader.read() == _status(count)


def test_counts_go_on_after_the_writer_was_replaced(tmp_path):
    path = tmp_path / "radio.bin"
    with RadioCounters.create(path) as writer:
        writer.write(_status(41))
    with RadioCounters.open(path) as reader, RadioCounters.create(path) as writer:
        assert writer.read() == _status(41)
        writer.write(_status(42))
        assert reader.read() == _status(42)


def test_a_half_written_status_is_never_believed(tmp_path):
    path = tmp_path / "radio.bin"
    with RadioCounters.create(path) as writer:
        writer.write(_status(1))
        writer.write(_status(2))
    whole = path.read_bytes()
    for copy in (64, 64 + 256):
        for at in range(copy, copy + 110, 7):
            torn = bytearray(whole)
            torn[at] ^= 0xFF
            path.write_bytes(torn)
            with RadioCounters.open(path) as reader:
                assert reader.read() in (_status(1), _status(2), RadioStatus())
                assert reader.read() != RadioStatus()


def test_a_load_is_commanded_and_taken_back(tmp_path):
    path = tmp_path / "radio.bin"
    with RadioCounters.create(path) as radio, RadioCounters.open(path) as site:
        assert not radio.load_override().in_force(0)
        site.set_load_override(0.9, until_ns=100)
        assert radio.load_override().load == 0.9
        assert radio.load_override().in_force(99)
        assert not radio.load_override().in_force(100)
        site.set_load_override(math.nan, until_ns=1000)
        assert not radio.load_override().in_force(99)
        with pytest.raises(ValueError, match=r"1\.5"):
            site.set_load_override(1.5, until_ns=1)


def test_two_sites_may_command_in_turn(tmp_path):
    path = tmp_path / "radio.bin"
    with (
        RadioCounters.create(path) as radio,
        RadioCounters.open(path) as one,
        RadioCounters.open(path) as two,
    ):
        for load in (0.1, 0.2, 0.3, 0.4):
            (one if load < 0.25 else two).set_load_override(load, 1)
            assert radio.load_override().load == load
        one.set_load_override(0.7, 1)
        assert radio.load_override().load == 0.7


def test_one_file_has_one_writer(tmp_path):
    with (
        RadioCounters.create(tmp_path / "radio.bin"),
        pytest.raises(ConflictError, match=r"radio\.bin"),
    ):
        RadioCounters.create(tmp_path / "radio.bin")


def test_a_reader_cannot_write_status(tmp_path):
    path = tmp_path / "radio.bin"
    with (
        RadioCounters.create(path),
        RadioCounters.open(path) as reader,
        pytest.raises(ConflictError, match="reading"),
    ):
        reader.write(_status(1))


@pytest.mark.parametrize("content", [None, b"", b"x" * 4096, b"aigridRC" + b"\x63" * 4088])
def test_a_missing_or_foreign_file_is_refused_and_replaced_by_a_writer(tmp_path, content):
    path = tmp_path / "radio.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnavailableError, match=r"radio\.bin"):
        RadioCounters.open(path)
    with RadioCounters.create(path) as writer:
        assert writer.read() == RadioStatus()


def test_a_path_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        RadioCounters.create(tmp_path / "file" / "radio.bin")


def _write_for_ever(path):
    with RadioCounters.create(path) as writer:
        count = 1
        while True:
            writer.write(_status(count))
            count += 1


def test_readers_of_a_racing_writer_see_whole_records_in_order_and_survive_its_death(tmp_path):
    path = tmp_path / "radio.bin"
    process = multiprocessing.get_context("spawn").Process(
        target=_write_for_ever, args=(path,), daemon=True
    )
    process.start()
    while not path.exists():
        time.sleep(0.01)
    with RadioCounters.open(path) as reader:
        last, until = 0, time.monotonic() + 0.7
        while time.monotonic() < until or last == 0:
            seen = reader.read()
            assert seen.slots_on_time == seen.slots_missed == seen.next_slot_ns == int(seen.load)
            assert seen.slots_on_time >= last
            last = seen.slots_on_time
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert reader.read().slots_on_time >= last
    with RadioCounters.create(path) as successor:
        assert successor.read().slots_on_time >= last


def test_a_status_knows_whether_it_is_fresh_and_busy():
    status = RadioStatus(state=RUNNING, updated_ns=1_000, next_slot_ns=2_000)
    assert status.is_fresh(1_500, limit_ns=600)
    assert not status.is_fresh(2_000, limit_ns=600)
    assert not status.is_fresh(999)
    assert status.is_busy(2_000)
    assert not status.is_busy(1_999)
