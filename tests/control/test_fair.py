"""Fair sharing: by weight, nobody starves, nobody saves up, the lowest class gives way."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from aigrid.control import fair, window
from aigrid.control.fair import FairQueue, Item

TENANTS = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 64), min_size=2, max_size=5)
COST = st.integers(1, 100)


def join(
    queue: FairQueue, tenant: str, weight: float = 1.0, rank: int = 1, cost: float = 1.0
) -> Item:
    new = fair.item(queue, tenant, weight, rank, cost)
    fair.join(queue, new)
    return new


@given(TENANTS, st.lists(COST, min_size=8, max_size=30), st.data())
@settings(max_examples=40)
def test_who_waits_all_the_time_gets_by_weight(
    tenants: dict[str, int], costs: list[int], data: st.DataObject
) -> None:
    """Goyal, Vin, Cheng 1996, theorem 1: shares by weight differ by an item of each at most."""
    queue, got, largest = FairQueue(), Counter[str](), Counter[str]()
    for tenant, weight in tenants.items():
        for _ in costs:
            cost = data.draw(st.sampled_from(costs))
            largest[tenant] = max(largest[tenant], cost)
            join(queue, tenant, weight, cost=cost)
    while len(queue.lines) == len(tenants):
        item = fair.pop(queue)
        assert item is not None
        got[item.tenant] += int(item.cost)
        if len(queue.lines) < len(tenants):
            break
        for f, wf in tenants.items():
            for g, wg in tenants.items():
                bound = largest[f] / wf + largest[g] / wg
                assert abs(got[f] / wf - got[g] / wg) <= bound + 1e-9


ACTION = st.one_of(
    st.tuples(st.just("join"), st.sampled_from("abc"), COST),
    st.tuples(st.just("pop"), st.just(""), st.just(0)),
    st.tuples(st.just("leave"), st.just(""), st.integers(0, 50)),
    st.tuples(st.just("correct"), st.just(""), COST),
)


@given(st.lists(ACTION, max_size=80))
@settings(max_examples=60)
def test_counts_hold_and_each_tenant_is_served_in_order(
    actions: list[tuple[str, str, int]],
) -> None:
    queue, waiting, served = FairQueue(), list[Item](), list[Item]()
    for what, tenant, number in actions:
        if what == "join":
            waiting.append(join(queue, tenant, 1 + ord(tenant) - 97, cost=number))
        elif what == "leave" and waiting:
            fair.leave(queue, waiting.pop(number % len(waiting)))
        elif what == "correct" and served:
            fair.correct(queue, served[-1], float(number))
        elif what == "pop":
            item = fair.pop(queue)
            assert (item is None) == (not waiting)
            if item is not None:
                first = next(one for one in waiting if one.tenant == item.tenant)
                assert item is first
                waiting.remove(item)
                served.append(item)
        assert queue.waiting == len(waiting) == sum(map(len, queue.lines.values()))


@given(st.integers(1, 60), st.integers(1, 64))
def test_nobody_starves(flood: int, weight: int) -> None:
    """Whoever comes, with weight 1, is served before a heavy tenant has had its weight's worth."""
    queue = FairQueue()
    for _ in range(flood):
        join(queue, "heavy", weight)
        fair.pop(queue)
    join(queue, "light", 1)
    turns = 0
    while "light" in queue.lines:
        join(queue, "heavy", weight)
        fair.pop(queue)
        turns += 1
        assert turns <= weight + 1


def test_idle_time_is_not_saved_up() -> None:
    queue = FairQueue()
    for _ in range(100):
        join(queue, "busy")
        fair.pop(queue)
    for _ in range(20):
        join(queue, "busy")
        join(queue, "fresh")
    first = [item.tenant for _ in range(10) if (item := fair.pop(queue)) is not None]
    assert 4 <= first.count("fresh") <= 6


def test_full_line_sheds_the_lowest_class_and_in_it_who_waits_most() -> None:
    queue = FairQueue()
    standard = join(queue, "s", rank=1)
    join(queue, "greedy", rank=2)
    last = join(queue, "greedy", rank=2)
    modest = join(queue, "modest", rank=2)
    urgent = fair.item(queue, "u", 1.0, 0, 1.0)
    assert fair.shed(queue, urgent) is last
    more = fair.item(queue, "greedy2", 1.0, 2, 1.0)
    assert fair.shed(queue, more) is more
    assert queue.waiting == 3
    assert {standard, modest} <= {item for line in queue.lines.values() for item in line}


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 2.0), st.integers(0, 99)), max_size=60))
@settings(max_examples=50)
def test_window_stays_within_its_bounds(steps: list[tuple[bool, float, int]]) -> None:
    found, now_s = window.Window(64.0, 64.0), 0.0
    for full, pause_s, held in steps:
        now_s += pause_s
        if full:
            window.note_full(found, held, now_s)
            assert found.size <= max(held, 1)
        else:
            window.grow(found, now_s)
        assert 1.0 <= found.size <= 64.0


def test_window_is_what_sites_hold_and_recovers() -> None:
    found = window.Window(8192.0, 8192.0)
    window.note_full(found, 100, 0.0)
    assert found.size == 100.0
    for _ in range(100):
        window.grow(found, 1.0)
    assert 100.9 < found.size < 101.1  # by one a round of answers
    for number in range(9000):
        window.grow(found, 6.0 + number)
    assert found.size == 8192.0


def test_turn_in_vain_costs_nothing_and_keeps_its_place() -> None:
    queue = FairQueue()
    first = join(queue, "a", cost=50.0)
    join(queue, "a")
    join(queue, "b")
    assert fair.pop(queue) is first
    fair.rejoin(queue, first)
    assert queue.waiting == 3
    assert fair.pop(queue) is first
