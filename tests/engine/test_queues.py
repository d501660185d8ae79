from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from assistant.engine.queues import FairQueues
from assistant.errors import Overloaded

MOST = 100
"""The largest cost in these tests."""
costs = st.integers(1, MOST)


@dataclass(eq=False)
class Request:
    queue: str
    cost: int


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def queues(**options):
    return FairQueues(**{"length": 10_000, **options})


def push(subject, queue, cost=10):
    item = Request(queue, cost)
    subject.push(queue, item, cost)
    return item


def anything(item):
    return True


def taken(subject, fits=anything):
    """All that can start, in order."""
    items = []
    while (item := subject.next(fits)) is not None:
        items.append(item)
    return items


def test_within_a_queue_first_come_first_served():
    subject = queues()
    items = [push(subject, "hr", cost) for cost in (5, 90, 1, 30)]
    assert taken(subject) == items
    assert len(subject) == 0 and subject.waiting == {} and subject.next(anything) is None


def test_departments_take_turns_however_much_one_asks():
    subject = queues()
    for _ in range(100):
        push(subject, "hr")
    for _ in range(3):
        push(subject, "legal")
    assert [item.queue for item in taken(subject)][:8] == ["hr", "legal"] * 3 + ["hr"] * 2


def test_a_large_request_costs_its_department_as_many_small_ones():
    subject = queues()
    for _ in range(4):
        push(subject, "large", 100)
    for _ in range(40):
        push(subject, "small", 10)
    order = [item.queue for item in taken(subject)]
    assert [order[: 11 * n].count("large") for n in range(1, 5)] == [1, 2, 3, 4]


def test_weights_are_shares():
    subject = queues(weights={"hr": 3.0})
    for _ in range(80):
        push(subject, "hr")
        push(subject, "legal")
    served = Counter(subject.next(anything).queue for _ in range(80))
    assert served == {"hr": 60, "legal": 20}


@given(st.lists(costs, min_size=1, max_size=6).flatmap(
    lambda firsts: st.tuples(st.just(firsts), st.lists(costs, min_size=20, max_size=120))
))  # fmt: skip
@settings(deadline=None, max_examples=40)
def test_full_queues_are_never_more_than_a_request_from_their_fair_share(example):
    firsts, more = example
    subject = queues()
    for name, cost in enumerate(firsts):
        push(subject, str(name), cost)
        push(subject, str(name), cost)
    served = defaultdict(int)
    for cost in more:
        item = subject.next(anything)
        push(subject, item.queue, cost)  # the queue stays full, with a request of any size
        served[item.queue] += item.cost
        fair = sum(served.values()) / len(firsts)
        assert all(abs(served[str(name)] - fair) <= MOST for name in range(len(firsts)))


@given(
    st.lists(st.sampled_from([0.5, 1.0, 2.0, 5.0]), min_size=2, max_size=5),
    st.lists(costs, min_size=20, max_size=100),
)
@settings(deadline=None, max_examples=40)
def test_weighted_queues_are_served_by_weight(weights, more):
    names = [str(number) for number in range(len(weights))]
    subject = queues(weights=dict(zip(names, weights, strict=True)))
    for name in names * 2:
        push(subject, name, MOST)
    served = defaultdict(float)
    for cost in more:
        item = subject.next(anything)
        push(subject, item.queue, cost)
        served[item.queue] += item.cost / weights[int(item.queue)]
        assert max(served.values()) - min(served[name] for name in names) <= 2 * MOST / min(weights)


@given(st.lists(st.tuples(costs, st.floats(0, 1)), min_size=60, max_size=150))
@settings(deadline=None, max_examples=40)
def test_what_was_not_used_is_given_back(runs):
    """Two departments: one estimates exactly, the other by far too high. The tokens used come out even."""
    subject = queues()
    for name in ("exact", "high") * 2:
        push(subject, name, 50)
    used = Counter()
    for cost, share in runs:
        item = subject.next(anything)
        push(subject, item.queue, cost)
        took = item.cost if item.queue == "exact" else int(item.cost * share)
        used[item.queue] += took
        subject.settle(item.queue, item.cost, took)
        assert abs(used["exact"] - used["high"]) <= 2 * MOST


def test_what_was_used_beyond_the_estimate_is_paid():
    subject = queues()
    for _ in range(30):
        push(subject, "hr")
        push(subject, "legal")
    first = subject.next(anything)
    subject.settle(first.queue, 10, 50)
    assert [subject.next(anything).queue for _ in range(7)] == ["legal"] * 5 + ["hr", "legal"]


def test_an_idle_department_gains_no_credit():
    subject = queues()
    once = push(subject, "idle")
    for _ in range(50):
        push(subject, "busy")
    assert subject.next(anything) is once
    for _ in range(20):
        assert subject.next(anything).queue == "busy"
    subject.settle("idle", 10, 0)  # nothing waits there: given back to nobody
    for _ in range(20):
        push(subject, "idle")
    assert Counter(subject.next(anything).queue for _ in range(20)) == {"busy": 10, "idle": 10}


def test_a_department_that_is_served_keeps_its_share_over_gaps():
    """It sends its next request only some turns after the last began; another floods."""
    subject, begun = queues(), Counter()
    push(subject, "gaps")
    absent = 0
    for turn in range(400):
        if subject.waiting.get("flood", 0) < 2:
            push(subject, "flood")
        if "gaps" not in subject.waiting:
            absent += 1
            if absent > 1 + turn % 2:
                push(subject, "gaps")
                absent = 0
        begun[subject.next(anything).queue] += 1
    assert begun["gaps"] >= 0.33 * 400, "as often as it came; without credit it waits a turn more each time"


def test_what_is_kept_over_a_gap_is_bounded():
    subject = queues()
    push(subject, "gaps")
    for _ in range(200):
        push(subject, "flood")
    assert subject.next(anything).queue == "gaps"
    for _ in range(100):
        subject.next(anything)
    for _ in range(50):
        push(subject, "gaps")
    first = [subject.next(anything).queue for _ in range(8)]
    assert first[:2] == ["gaps", "gaps"] and first.count("gaps") <= 6


def test_a_department_that_comes_back_owes_nothing():
    subject = queues()
    for _ in range(20):
        push(subject, "hr")
    assert len(taken(subject)) == 20  # nobody else was there
    for _ in range(10):
        push(subject, "hr")
        push(subject, "legal")
    assert Counter(subject.next(anything).queue for _ in range(10)) == {"hr": 5, "legal": 5}


def test_a_head_that_does_not_fit_blocks_its_own_department_only():
    subject = queues()
    large, behind = push(subject, "hr", 90), push(subject, "hr", 10)
    others = [push(subject, "legal", 10) for _ in range(3)]
    assert taken(subject, lambda item: item.cost < 50) == others
    assert list(subject) == [large, behind]
    assert taken(subject) == [large, behind]


def test_fits_is_asked_in_turn_and_the_first_yes_is_taken():
    """So that whoever is asked may take the room at once."""
    subject = queues()
    items = [push(subject, name, cost) for name, cost in (("a", 30), ("b", 10), ("c", 20))]
    asked = []

    def fits(item):
        asked.append(item)
        return item is items[2]

    assert subject.next(fits) is items[2]
    assert asked == [items[1], items[2]]


def run_with_memory(subject, room, steps, arrive):
    """An engine with so many tokens of room; every request runs for a step; returns what started when."""
    running, started = [], {}
    for step in range(steps):
        for item in running[: len(running) // 2 + 1]:  # some end, never all at once
            running.remove(item)
            subject.settle(item.queue, item.cost, item.cost)
        arrive(step)
        while (item := subject.next(lambda one: sum(r.cost for r in running) + one.cost <= room)) is not None:
            running.append(item)
            started[item] = step
    return started


@pytest.mark.parametrize("patience", [1, 5, 32])
def test_a_large_request_does_not_starve_behind_small_ones(patience):
    subject = queues(patience=patience)
    large = push(subject, "large", MOST)
    small = []

    def arrive(step):
        for name in ("a", "b", "c"):
            small.extend(push(subject, name, 9) for _ in range(10))

    started = run_with_memory(subject, MOST, 150, arrive)
    assert large in started
    before = sum(1 for item in small if started.get(item, 999) < started[large])
    turn = 3 * MOST / 9  # what the three are owed before it is the large one's turn
    assert turn / 2 < before <= turn + patience + MOST / 9


def test_room_is_made_for_one_and_then_all_go_on():
    subject = queues(patience=2)
    large = push(subject, "large", 10)
    small = [push(subject, "small", 10) for _ in range(6)]

    def only_small(item):
        return item.queue == "small"

    assert taken(subject, only_small) == small[:2]
    assert subject.next(only_small) is None, "nothing passes any more"
    assert taken(subject) == [large, *small[2:]]


def test_of_two_that_do_not_fit_room_is_made_for_the_one_whose_turn_it_is():
    subject = queues(patience=1)
    first = push(subject, "a", 10)
    push(subject, "b", 20)
    small = [push(subject, "c", 10) for _ in range(6)]
    assert taken(subject, lambda item: item.queue == "c") == small[:1]
    for _ in range(2):
        assert subject.next(lambda item: item is not first) is None
    assert taken(subject)[0] is first


def test_one_that_is_gone_keeps_no_room():
    subject = queues(patience=1)
    large = push(subject, "large", 10)
    small = [push(subject, "small", 10) for _ in range(3)]
    assert taken(subject, lambda item: item.queue == "small") == small[:1]
    assert subject.remove(large)
    assert taken(subject) == small[1:]


def test_each_queue_has_its_own_bound():
    subject = queues(length=2)
    for _ in range(2):
        push(subject, "hr")
    with pytest.raises(Overloaded, match="2 questions of hr are waiting") as caught:
        push(subject, "hr")
    assert caught.value.retry_after_s >= 1 and caught.value.remedy
    push(subject, "legal")
    push(subject, "")
    assert subject.waiting == {"hr": 2, "legal": 1, "": 1}
    subject.next(anything)
    push(subject, "hr")


def at_speed(tokens_per_s, **options):
    """Queues whose engine was measured, with one request of hr running on."""
    clock = Clock()
    subject = queues(clock=clock, **options)
    push(subject, "hr", 10)
    subject.next(anything)
    for _ in range(100):
        clock.now += 0.1
        subject.served(tokens_per_s // 10)
    return subject, clock


def test_the_wait_is_predicted_from_the_speed_and_the_share():
    subject, _ = at_speed(100)
    assert subject.wait_s("hr") == 0.0
    push(subject, "hr", 300)
    assert subject.wait_s("hr") == pytest.approx(3.0)
    push(subject, "legal", 50)  # two share the speed now
    assert subject.wait_s("hr") == pytest.approx(6.0)
    assert subject.wait_s("legal") == pytest.approx(1.0)
    assert subject.wait_s("legal", 100) == pytest.approx(3.0)  # it is paid for too before it starts
    assert subject.wait_s("engineering", 100) == 0.0


def test_a_department_that_runs_shares_the_speed_though_nothing_of_it_waits():
    subject, _ = at_speed(100)
    push(subject, "legal", 100)
    assert subject.wait_s("legal") == pytest.approx(2.0)
    subject.settle("hr", 10, 10)
    assert subject.wait_s("legal") == pytest.approx(1.0)


def test_the_wait_is_bounded_if_asked_and_one_may_always_wait():
    subject, _ = at_speed(100, max_wait_s=5.0)
    for name in ("hr", "legal"):
        push(subject, name, 900)  # the first of each, however large
    with pytest.raises(Overloaded, match="18 s") as caught:
        push(subject, "hr", 1)
    assert caught.value.retry_after_s == pytest.approx(13.0)
    push(subject, "engineering", 10)
    push(subject, "engineering", 10)


def test_a_department_that_had_its_turn_is_not_expected_at_once_though_nothing_of_it_waits():
    subject, _ = at_speed(100, max_wait_s=1.5)
    assert subject.wait_s("hr", 100) == 0.0  # nobody waits at all
    push(subject, "legal", 100)
    with pytest.raises(Overloaded, match="A question of hr would wait about 2 s now") as caught:
        push(subject, "hr", 100)
    assert caught.value.retry_after_s >= 1
    push(subject, "engineering", 100)  # nothing of it runs: always taken
    for _ in range(2):
        subject.next(anything)
    push(subject, "legal", 100)  # meanwhile hr was given 20, twice what its last one cost
    assert subject.wait_s("hr", 100) == pytest.approx(2.4)
    push(subject, "hr", 20)


def test_the_length_holds_beside_the_wait_and_tells_when_half_is_gone():
    subject, _ = at_speed(100, max_wait_s=50.0, length=4)
    for _ in range(4):
        push(subject, "hr", 200)
    with pytest.raises(Overloaded) as caught:
        push(subject, "hr", 1)
    assert caught.value.retry_after_s == pytest.approx(4.0)


def test_without_a_measured_speed_only_the_length_decides():
    subject = queues(max_wait_s=0.1, length=3)
    for _ in range(3):
        push(subject, "hr", 10**6)
    assert subject.wait_s("hr") is None
    with pytest.raises(Overloaded):
        push(subject, "hr")


@pytest.mark.parametrize("last", ["settled", "served"])
def test_idle_time_does_not_slow_the_measured_speed(last):
    subject, clock = at_speed(100)
    clock.now += 0.1
    if last == "settled":
        subject.served(10)
        subject.settle("hr", 10, 10)
    else:
        subject.settle("hr", 10, 10)
        subject.served(10)
    clock.now += 3600
    push(subject, "hr", 10)
    subject.next(anything)
    clock.now += 0.1
    subject.served(10)
    push(subject, "hr", 300)
    assert subject.wait_s("hr") == pytest.approx(3.0)


def test_the_latest_speed_counts_most():
    subject, clock = at_speed(100)
    for _ in range(1000):
        clock.now += 0.1
        subject.served(40)
    push(subject, "hr", 400)
    assert subject.wait_s("hr") == pytest.approx(1.0, rel=0.05)


def test_estimates_that_are_too_high_are_known_as_such():
    subject, _ = at_speed(100)
    for _ in range(50):
        push(subject, "legal", 200)
        subject.next(anything)
        subject.settle("legal", 200, 50)
    subject.settle("hr", 10, 0)  # one that did not run tells nothing
    push(subject, "legal", 400)
    assert subject.wait_s("legal") == pytest.approx(1.0)  # 100 real tokens


def test_equal_items_are_told_apart():
    subject = queues()
    first, second = ["same"], ["same"]
    subject.push("hr", first, 10)
    subject.push("hr", second, 10)
    assert subject.remove(second) and not subject.remove(["same"])
    assert subject.next(anything) is first


class Bookkeeping(RuleBasedStateMachine):
    """Any order of pushes, starts, ends and removals, against plain lists."""

    def __init__(self):
        super().__init__()
        self.subject = FairQueues(length=4, patience=3)
        self.waiting = defaultdict(list)
        self.running = []

    @rule(queue=st.sampled_from("abc"), cost=costs)
    def push(self, queue, cost):
        item = Request(queue, cost)
        if len(self.waiting[queue]) < 4:
            self.subject.push(queue, item, cost)
            self.waiting[queue].append(item)
        else:
            with pytest.raises(Overloaded):
                self.subject.push(queue, item, cost)

    @rule(largest=costs)
    def next(self, largest):
        heads = [items[0] for items in self.waiting.values() if items]
        item = self.subject.next(lambda one: one.cost <= largest)
        if item is None:
            fitting = [head for head in heads if head.cost <= largest]
            assert not fitting or len(heads) > len(fitting), "work is left although all of it fits"
            return
        assert item in heads and item.cost <= largest
        self.waiting[item.queue].remove(item)
        self.running.append(item)

    @rule()
    def next_of_any_size(self):
        item = self.subject.next(anything)
        assert (item is None) == (not any(self.waiting.values())), "an engine with room is never left idle"
        if item is not None:
            assert self.waiting[item.queue].pop(0) is item
            self.running.append(item)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), share=st.floats(0, 1.5))
    def settle(self, data, share):
        item = data.draw(st.sampled_from(self.running))
        self.running.remove(item)
        self.subject.settle(item.queue, item.cost, int(item.cost * share))

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def remove(self, data):
        item = data.draw(st.sampled_from([item for items in self.waiting.values() for item in items]))
        assert self.subject.remove(item)
        assert not self.subject.remove(item)
        self.waiting[item.queue].remove(item)

    @rule()
    def remove_one_that_is_not_there(self):
        assert not self.subject.remove(Request("a", 1))

    @invariant()
    def what_waits_is_what_was_pushed_and_not_taken(self):
        expected = {name: items for name, items in self.waiting.items() if items}
        found = defaultdict(list)
        for item in self.subject:
            found[item.queue].append(item)
        assert found == expected
        assert self.subject.waiting == {name: len(items) for name, items in expected.items()}
        assert len(self.subject) == sum(self.subject.waiting.values())


TestBookkeeping = Bookkeeping.TestCase
TestBookkeeping.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
