"""The slot loop: receive, process, count, and sleep to the next slot's absolute time."""

from __future__ import annotations

import os
import time
from bisect import bisect_left

import numpy as np

from aigrid.core.errors import UnavailableError
from aigrid.radio.clock import sleep_until_ns
from aigrid.radio.config import FrontendConfig
from aigrid.radio.counters import RUNNING, STOPPED, RadioCounters
from aigrid.radio.profile import schedule
from aigrid.radio.receiver import Receiver, hard_bits
from aigrid.radio.transmitter import slot_ring

WINDOW_SLOTS = 512
_STATISTICS_EVERY = 64
_LOAD_TIME_CONSTANT_NS = 150_000_000
_LOOK_EVERY_NS = 10_000_000
_WARM_UP_SLOTS = 20
# Above this share of wrong hard bits at the configured signal the chain is broken, not the channel.
_RAW_BER_LIMIT = 0.35


class SlotLoop:
    """Runs one cell's front-end; nothing is allocated in the loop that outlives a slot.

    Args:
        config: what to run.
        counters: where to count; opened for writing.
    """

    def __init__(self, config: FrontendConfig, counters: RadioCounters) -> None:
        self.stopping = False
        self._config, self._counters = config, counters
        self._receiver = Receiver(config.cell, config.cell_id)
        rng = np.random.default_rng(config.seed)
        self._ring = slot_ring(config.cell, rng, cell_id=config.cell_id, snr_db=config.snr_db)
        self._sizes = [slot.prb_count for slot in self._ring]
        profile = config.profile
        self._total = config.cell.resource_blocks
        self._schedule = schedule(profile.burstiness, profile.correlation, self._total, rng)
        next(self._schedule)
        self._slot_ns = self._receiver.numerology.slot_ns
        self._deadline_ns = round(config.cell.deadline_ms * 1e6)
        before = counters.read()
        self._on_time, self._missed = before.slots_on_time, before.slots_missed
        self._dropped = before.slots_dropped
        self._cpu_ns = np.zeros(WINDOW_SLOTS, np.int64)
        self._latency_ns = np.zeros(WINDOW_SLOTS, np.int64)
        self._done = 0
        self._load = self._need_mean = self._need_high = self._latency_high_ms = 0.0
        self._target = profile.utilisation_at(0.0)

    def warm_up(self) -> float:
        """Compile or load the kernels, touch all memory, and check the chain against the sent bits.

        Returns:
            Share of wrong hard decisions over the ring, before decoding.

        Raises:
            UnavailableError: the receiver does not recover its own test signal.
        """
        wrong = sent = 0
        for slot in self._ring:
            reception = self._receiver.receive(
                slot.samples, slot.slot_in_frame, slot.first_prb, slot.prb_count
            )
            wrong += int(np.count_nonzero(hard_bits(reception.llr) != slot.bits))
            sent += slot.bits.size
        for _ in range(_WARM_UP_SLOTS):
            self._process(self._total)
        if wrong > _RAW_BER_LIMIT * sent:
            raise UnavailableError(
                f"{self._config.site}: {wrong} of {sent} test bits are wrong",
                next_step="raise snr_db, or lower modulation_bits",
            )
        return wrong / sent

    def announce(self) -> None:
        """Tell readers that slots are about to be received."""
        now_ns = time.monotonic_ns()
        self._publish(now_ns + self._slot_ns, now_ns)

    def run(self, parent: int) -> None:
        """Process a slot per period until `stopping`, which signal handlers set, or orphaned.

        Args:
            parent: process whose end ends the loop.
        """
        slot_ns = self._slot_ns
        start_ns = -(-time.monotonic_ns() // slot_ns) * slot_ns
        received_ns, look_ns = start_ns + slot_ns, 0
        while not self.stopping:
            now_ns = time.monotonic_ns()
            if now_ns < received_ns:
                sleep_until_ns(received_ns)
                continue
            late = (now_ns - received_ns - self._deadline_ns) // slot_ns + 1
            if late > 0:
                # These slots' deadlines have passed: beginning them would only hurt the next ones.
                self._missed += late
                self._dropped += late
                received_ns += late * slot_ns
                self._publish(received_ns, now_ns)
                continue
            if now_ns >= look_ns:
                look_ns = now_ns + _LOOK_EVERY_NS
                self._look(now_ns, start_ns)
                self.stopping = self.stopping or os.getppid() != parent
            self._one_slot(received_ns)
            received_ns += slot_ns
        self._publish(received_ns, time.monotonic_ns(), STOPPED)

    def _one_slot(self, received_ns: int) -> None:
        prbs = self._schedule.send(self._target)
        cpu_ns = time.thread_time_ns()
        self._process(prbs)
        cpu_ns = time.thread_time_ns() - cpu_ns
        now_ns = time.monotonic_ns()
        if now_ns - received_ns <= self._deadline_ns:
            self._on_time += 1
        else:
            self._missed += 1
        at = self._done % WINDOW_SLOTS
        self._cpu_ns[at] = cpu_ns
        self._latency_ns[at] = now_ns - received_ns
        self._done += 1
        weight = min(1.0, self._slot_ns / _LOAD_TIME_CONSTANT_NS)
        self._load += weight * (prbs / self._total - self._load)
        self._publish(received_ns + self._slot_ns, now_ns)
        if self._done % _STATISTICS_EVERY == 0:
            self._summarise()

    def _process(self, prbs: int) -> None:
        slot = self._ring[min(bisect_left(self._sizes, prbs), len(self._ring) - 1)]
        self._receiver.receive(slot.samples, slot.slot_in_frame, slot.first_prb, prbs)

    def _look(self, now_ns: int, start_ns: int) -> None:
        override = self._counters.load_override()
        if override.in_force(now_ns):
            self._target = override.load
        else:
            self._target = self._config.profile.utilisation_at((now_ns - start_ns) / 1e9)

    def _summarise(self) -> None:
        filled = min(self._done, WINDOW_SLOTS)
        high = min(filled - 1, filled * 99 // 100)
        cpu = np.partition(self._cpu_ns[:filled], high)
        self._need_mean = float(cpu.mean()) / self._slot_ns
        self._need_high = float(cpu[high]) / self._slot_ns
        self._latency_high_ms = float(np.partition(self._latency_ns[:filled], high)[high]) / 1e6

    def _publish(self, next_slot_ns: int, now_ns: int, state: int = RUNNING) -> None:
        self._counters.write_values(
            self._on_time,
            self._missed,
            self._dropped,
            state,
            os.getpid(),
            self._slot_ns,
            self._deadline_ns,
            next_slot_ns,
            now_ns,
            self._load,
            self._need_mean,
            self._need_high,
            self._latency_high_ms,
        )
