"""Which work forms the next batch."""

import asyncio

import pytest

from app.batching.queue import WorkQueue, seconds_to_wait
from app.batching.rules import BatchRules
from tests.support.fakes import make_work

NOW = 100.0


class Entries:
    """Makes work on a loop that never runs, and records its name."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.names = {}

    def __call__(self, name, *, rows=1, **options):
        work = make_work(self.loop, *range(rows), now=NOW, **options)
        self.names[id(work)] = name
        return work

    def named(self, works):
        return "".join(self.names[id(work)] for work in works)


@pytest.fixture
def entry():
    entries = Entries()
    yield entries
    entries.loop.close()


def queue_of(*works, **options):
    queue = WorkQueue(BatchRules(**{"max_batch_size": 4, "inline_below_s": 0, "priority_levels": 3, **options}))
    for work in works:
        queue.push(work)
    return queue


def batches(queue, entry):
    found = []
    while queue:
        taken = queue.take_batch(now=NOW)
        if taken.batch is not None:
            found.append((entry.named(taken.batch.works), taken.batch.reason))
    return found


def test_neighbours_in_length_share_a_batch_and_the_oldest_goes_first(entry):
    works = [entry(name, length=length) for name, length in zip("abcdef", (100, 5, 90, 8, 120, 7), strict=True)]
    queue = queue_of(*works, length_buckets=(8, 64, 128))
    assert batches(queue, entry) == [("ace", "bucket"), ("bdf", "idle")]


def test_without_buckets_all_lengths_share(entry):
    queue = queue_of(*(entry(name, length=length) for name, length in (("a", 100), ("b", 5), ("c", 90))))
    assert batches(queue, entry) == [("abc", "idle")]


def test_lengths_beyond_the_last_bucket_share_one(entry):
    queue = queue_of(entry("a", length=500), entry("b", length=10), entry("c", length=900), length_buckets=(8, 64))
    assert batches(queue, entry) == [("ac", "bucket"), ("b", "idle")]


def test_no_length_starves_while_another_keeps_coming(entry):
    queue = queue_of(entry("x", length=200), length_buckets=(8, 256))
    for _ in range(4):
        queue.push(entry("s", length=5))
    order = []
    for _ in range(3):
        taken = queue.take_batch(now=NOW)
        order.append(entry.named(taken.batch.works))
        for _ in range(4):
            queue.push(entry("s", length=5))
    assert order == ["x", "ssss", "ssss"]


def test_a_higher_priority_goes_first_and_a_lower_one_fills_its_batch(entry):
    works = [
        entry("a", level=3),
        entry("b", level=2),
        entry("c", level=1),
        entry("d", level=2),
        entry("e", level=1),
    ]
    assert batches(queue_of(*works), entry) == [("cebd", "full"), ("a", "idle")]


def test_priority_does_not_mix_lengths(entry):
    works = [entry("a", level=2, length=5), entry("b", level=1, length=100), entry("c", level=2, length=90)]
    queue = queue_of(*works, length_buckets=(8, 128))
    assert batches(queue, entry) == [("bc", "bucket"), ("a", "idle")]


def test_the_head_is_not_overtaken_by_smaller_work_of_its_kind(entry):
    works = [entry("a", rows=3), entry("b", rows=2), entry("c")]
    assert batches(queue_of(*works), entry) == [("a", "full"), ("bc", "idle")]


def test_shapes_that_may_not_be_stacked_never_share(entry):
    first, second = entry("a"), entry("b")
    first.shape_key, second.shape_key = ((2,),), ((3,),)
    assert batches(queue_of(first, second), entry) == [("a", "bucket"), ("b", "idle")]


def test_abandoned_and_late_work_is_dropped_when_a_batch_is_taken(entry):
    gone, late, kept = entry("g"), entry("l", timeout_s=-1), entry("k")
    gone.future.cancel()
    taken = queue_of(gone, late, kept).take_batch(now=NOW)
    assert (entry.named(taken.batch.works), entry.named(taken.cancelled), entry.named(taken.expired)) == ("k", "g", "l")


def test_a_lane_of_dropped_work_only_does_not_end_the_search(entry):
    gone, kept = entry("g", length=5), entry("k", length=100)
    gone.future.cancel()
    taken = queue_of(gone, kept, length_buckets=(8, 128)).take_batch(now=NOW)
    assert (entry.named(taken.batch.works), taken.batch.reason, entry.named(taken.cancelled)) == ("k", "idle", "g")


def test_a_queue_of_dropped_work_gives_no_batch(entry):
    gone = entry("g")
    gone.future.cancel()
    queue = queue_of(gone)
    assert queue.take_batch(now=NOW).batch is None
    assert not queue


def wait(queue, *, delay_s=1.0, compute_s=0.0, now=NOW):
    return seconds_to_wait(queue, max_batch_size=4, max_queue_delay_s=delay_s, compute_s=compute_s, now=now)


def test_the_delay_is_the_age_of_the_oldest(entry):
    queue = queue_of(entry("a"), entry("b"))
    assert wait(queue, now=NOW + 0.25) == (0.75, "delay")
    assert wait(queue, now=NOW + 2) == (0.0, "delay")


def test_a_full_batch_does_not_wait(entry):
    assert wait(queue_of(entry("a", rows=3), entry("b"))) == (0.0, "full")


def test_full_counts_only_work_that_may_share_the_batch(entry):
    queue = queue_of(entry("a", rows=3, length=5), entry("b", length=100), length_buckets=(8, 128))
    assert wait(queue) == (1.0, "delay")


def test_a_deadline_ends_the_wait_early_enough_to_be_met(entry):
    queue = queue_of(entry("a"), entry("b", timeout_s=0.5))
    seconds, reason = wait(queue, compute_s=0.2)
    assert reason == "deadline"
    assert seconds == pytest.approx(0.3)
    assert wait(queue, compute_s=0.2, now=NOW + 0.4) == (0.0, "deadline")
