# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"
"""Services that take turns on one server, solved together: how busy each is, and what gets through.

Prefills come first; of the time that they leave, every service with a sequence in decode gets an
equal turn (`ServiceCost`). A batch of n takes f + n e device seconds a step, so that a service that
is slowed by others gathers larger batches, which cost less a token: occupancy makes the step's
time, and that the occupancy, of all services at once.

While a service decodes, K of the others do, and its turn is 1 / (1 + K) of the time. With the
others taken as independent, each decoding a part b of the time,

    E[1 / (1 + K)] = integral from 0 to 1 of the product over the others of (1 - b (1 - z)) dz

(the generating function of K, integrated), for which Gauss and Legendre's nodes are exact. The sum
over services of b E[1 / (1 + K)] is then 1 - the product of all (1 - b): no work is lost or made by
taking them as independent. The parts b are a fixed point, as blocking is in a network of circuits
(Kelly, "Loss networks", Annals of Applied Probability 1, 1991); queues that slow each other down
are Fayolle and Iasnogorodski's ("Two coupled processors", Z. Wahrscheinlichkeitstheorie 47, 1979).
One service at a given turn is the birth and death of `batches`, tabulated by its load alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aigrid.twin.models.batches import alone_s, alone_states
from aigrid.twin.models.service import Service, ServiceCost

Floats = NDArray[np.float64]
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
# Loads x of a service, as of batches of one, are tabulated evenly by x / (1 + x).
CELLS = 128
# Loads as of full batches, from 0 to `FULLEST`.
FULL_CELLS, FULLEST = 96, 1.5
# Columns of `Turns.cost`.
PREFILL, LOST, ALONE, FULL = range(4)
# A fixed point is found when nothing moves another by more; most rounds until then.
CLOSE, ROUNDS = 0.002, 24
# The same for tables.
EXACT = 1e-9
# Where all decode this little, taken together, `turn_of` is within 0.003.
QUIET = 0.1
# Decoding gets this part of the time at least: a full batch in decode stops prefills.
LEAST = 0.01


@dataclass(frozen=True, slots=True)
class Turns:
    """S services at T types of servers.

    Attributes:
        cost: (T, S, 4) device seconds of a request: its prefill, what a lost prefix adds to it, its
            decode in a batch of one, and in a full one. A service that cannot run there has zeros.
        busy: (T, S, CELLS + 1) float32 part of the time with a sequence in decode, by load.
        stay: (T, S, CELLS + 1) float32 time in line and in decode, over that of a batch of one.
        blocked: (T, S, FULL_CELLS) float32 part of requests that find the line full.
        nodes: (M,) of the integral, as 1 - z.
        weights: (M,) of them.
    """

    cost: Floats
    busy: NDArray[np.float32]
    stay: NDArray[np.float32]
    blocked: NDArray[np.float32]
    nodes: Floats
    weights: Floats


@dataclass(frozen=True, slots=True)
class Shared:
    """One server, with all its services in equilibrium.

    Attributes:
        passed: (S,) requests a second that get through.
        turn: (S,) part of the decode time that each has while it decodes.
        prefill: part of the time in prefill.
        busy: part of the time that anything runs.
        fullest: largest load of a service, offered over what a full batch does.
    """

    passed: Floats
    turn: Floats
    prefill: float
    busy: float
    fullest: float


def turns_of(
    kinds: Sequence[Sequence[ServiceCost | None]], services: Sequence[Service], queue_limit: float
) -> Turns:
    """Tabulate services.

    Args:
        kinds: (T, S) costs; None where a service cannot run.
        services: S of them.
        queue_limit: line, as a multiple of the places.
    """
    shape = (len(kinds), len(services))
    cost = np.zeros((*shape, 4))
    busy, stay = (np.zeros((*shape, CELLS + 1), np.float32) for _ in range(2))
    blocked = np.zeros((*shape, FULL_CELLS), np.float32)
    for t, costs in enumerate(kinds):
        for s, (one, service) in enumerate(zip(costs, services, strict=True)):
            if one is not None:
                cost[t, s] = _cost(one, service)
                line = int(queue_limit * one.places)
                busy[t, s], stay[t, s] = _by_load(one, cost[t, s, ALONE], line)
                blocked[t, s] = _blocked(one, cost[t, s, FULL], line)
    nodes, weights = np.polynomial.legendre.leggauss((len(services) + 1) // 2)
    return Turns(cost, busy, stay, blocked, (1.0 - nodes) / 2.0, weights / 2.0)


def _cost(cost: ServiceCost, service: Service) -> Floats:
    prompt = service.prompt_tokens.mean
    spared = min(service.shared_prefix_tokens * service.residency, prompt)
    full = alone_s(cost, service.generated_tokens.mean, cost.places)
    return np.array(
        (
            cost.prefill_fixed_s + (prompt - spared) * cost.prefill_s_per_token,
            spared * cost.prefill_s_per_token,
            alone_s(cost, service.generated_tokens.mean, 1),
            full,
        )
    )


def _by_load(cost: ServiceCost, alone: float, line: int) -> tuple[Floats, Floats]:
    busy, stay = np.ones(CELLS + 1), np.ones(CELLS + 1)
    busy[0] = 0.0
    for cell in range(1, CELLS):
        load = cell / (CELLS - cell)
        states = alone_states(cost, alone, load, line)
        busy[cell] = 1.0 - states[0]
        passed = load * (1.0 - states[-1])
        stay[cell] = states @ np.arange(len(states)) / passed
    stay[CELLS] = stay[CELLS - 1]
    return busy, stay


def _blocked(cost: ServiceCost, full: float, line: int) -> Floats:
    alone = full * (cost.step_fixed_s + cost.step_sequence_s)
    alone /= cost.step_fixed_s / cost.places + cost.step_sequence_s
    loads = (np.arange(FULL_CELLS) + 0.5) * FULLEST / FULL_CELLS
    return np.array([alone_states(cost, alone, a * alone / full, line)[-1] for a in loads])


def shared(turns: Turns, kind: int, rate: Floats, devices: float = 1.0) -> Shared:
    """A server's services in equilibrium.

    Args:
        turns: tables.
        kind: row of them.
        rate: (S,) requests a second that come.
        devices: of the server.
    """
    busy, load, slower = np.zeros((3, len(rate)))
    cost, left = np.ascontiguousarray(turns.cost[kind].T), 1.0
    for _ in range(ROUNDS):
        before = busy.copy()
        left = settle(
            devices,
            rate,
            cost[PREFILL],
            cost[ALONE],
            cost[FULL],
            kind,
            turns.busy,
            turns.nodes,
            turns.weights,
            busy,
            load,
            slower,
            (0,) * len(rate),
        )
        if np.abs(busy - before).max(initial=0.0) < EXACT:
            break
    passed = rate / np.maximum(load, 1.0)
    runs = 1.0 - left * float(np.prod(1.0 - busy))
    return Shared(passed, 1.0 / slower, 1.0 - left, runs, float(load.max(initial=0.0)))


@njit(inline="always", **_OPTIONS)
def settle(
    devices,
    rate,
    prefill_s,
    alone_s,
    full_s,
    kind,
    busy_table,
    nodes,
    weights,
    busy,
    load,
    slower,
    columns,
):
    """Find the fixed point of one server, from `busy` as it was.

    What is offered beyond a full batch's rate does not get through: of such services the prefills
    that do, and the time that these leave, are found from each other exactly.

    Args:
        devices: of the server, above 0.
        rate: (S,) requests a second that come.
        prefill_s: (S,) device seconds of a request's prefill.
        alone_s: (S,) of its decode in a batch of one.
        full_s: (S,) of its decode in a full one.
        kind: row of the table.
        busy_table: `busy` of `Turns`.
        nodes: of it.
        weights: of it.
        busy: (S,) part of the time that each decodes, changed in place.
        load: (S,) to fill, offered over what a full batch does; part 1 / load of more gets through.
        slower: (S,) to fill, decode time over a turn of it.
        columns: S values, any: a tuple's length is known when this is compiled.

    Returns:
        part of the time that prefill leaves.
    """
    wanted, decoding = 0.0, 0.0
    for s in range(len(columns)):
        wanted += rate[s] * prefill_s[s]
        decoding += busy[s]
    room = max(devices - wanted, LEAST * devices)
    for _ in range(ROUNDS):
        if decoding < QUIET:
            for s in range(len(columns)):
                slower[s] = turn_of(decoding - busy[s])
        else:
            _take_turns(busy, nodes, weights, slower)
        before, moved, decoding, fullest = room, 0.0, 0.0, 0.0
        stretch = 1.0 / room
        for s in range(len(columns)):
            each = rate[s] * stretch * slower[s]
            load[s] = each * full_s[s]
            fullest = max(fullest, load[s])
            at = each * alone_s[s]
            at = at / (1.0 + at) * CELLS
            low = min(int(at), CELLS - 1)
            below = busy_table[kind, s, low]
            found = below + (busy_table[kind, s, low + 1] - below) * (at - low)
            moved = max(moved, abs(found - busy[s]))
            decoding += found
            busy[s] = found
        if fullest >= 1.0:
            room = _overfull(devices, rate, prefill_s, full_s, load, slower, busy)
            moved = max(moved, abs(room - before) / devices)
        # What one decodes more changes the others by about so much of what they decode.
        if moved * decoding <= CLOSE:
            break
    return room / devices


@njit(inline="always", **_OPTIONS)
def turn_of(others):
    """Decode time over a turn, beside others that decode so much taken together, if it is little.

    1 / E[1 / (1 + K)] = 1 + E[K] / 2 and terms of the square.
    """
    return 1.0 + 0.5 * others


@njit(**_OPTIONS)
def _take_turns(busy, nodes, weights, slower):
    for s in range(len(busy)):
        slower[s] = 0.0
    for i in range(len(nodes)):
        product = weights[i]
        for s in range(len(busy)):
            product *= 1.0 - busy[s] * nodes[i]
        for s in range(len(busy)):
            slower[s] += product / (1.0 - busy[s] * nodes[i])
    for s in range(len(busy)):
        slower[s] = 1.0 / slower[s]


@njit(**_OPTIONS)
def _overfull(devices, rate, prefill_s, full_s, load, slower, busy):
    """Devices that prefills leave, if of full batches what these do gets through.

    They decode all the time, and room = devices - free - room * full.
    """
    free, full = 0.0, 0.0
    for s in range(len(rate)):
        if load[s] >= 1.0:
            busy[s] = 1.0
            full += prefill_s[s] / (slower[s] * full_s[s])
        else:
            free += rate[s] * prefill_s[s]
    return max((devices - free) / (1.0 + full), LEAST * devices)
