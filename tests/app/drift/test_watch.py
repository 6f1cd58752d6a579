"""Which rows are sampled, and for how long they count."""

import numpy as np

from app.drift.bins import NumberBins
from app.drift.measures import Measure, elements
from app.drift.watch import ENTRY_BYTES, MOST_SAMPLE_BYTES, MOST_WAITING_BYTES, ROWS_AT_ONCE, DriftSettings, DriftWatch
from app.drift.window import PARTS
from app.errors import BackendFailed
from tests.support.fakes import FakeClock

WINDOW_S = 120.0


def measure(name="x", *, is_output=False):
    return Measure(
        kind="prediction" if is_output else "input",
        name=name,
        is_output=is_output,
        expected=np.array([0.5, 0.5]),
        expected_rows=100,
        bins=NumberBins(np.array([0.5])),
        reduce=elements,
    )


class Work:
    def __init__(self, values, *, is_probe=False):
        self.inputs, self.rows, self.is_probe = {"x": np.array(values, np.float32)}, len(values), is_probe


def watch(clock, *, rows_per_s=10.0, measures=None):
    settings = DriftSettings(window_s=WINDOW_S, rows_per_s=rows_per_s)
    return DriftWatch(measures or [measure()], settings, clock)


def counts(watched):
    watched.count()
    return [each["counts"] for each in watched.snapshot()]


def test_rows_of_inputs_and_of_outputs_are_counted():
    watched = watch(FakeClock(), measures=[measure(), measure("y", is_output=True)])
    watched.take([Work([0, 0, 1])], [{"y": np.array([1, 1, 1])}])
    assert counts(watched) == [[2, 1], [0, 3]]


def test_rows_that_the_service_itself_made_are_not_counted():
    watched = watch(FakeClock())
    watched.take([Work([0, 0], is_probe=True), Work([1])], [{}, {}])
    assert counts(watched) == [[0, 1]]


def test_an_output_with_the_name_of_an_input_is_not_mistaken_for_it():
    watched = watch(FakeClock(), measures=[measure(), measure("x", is_output=True)])
    watched.take([Work([0, 0])], [{"x": np.array([1, 1])}])
    assert counts(watched) == [[2, 0], [0, 2]]


def test_the_next_sample_is_taken_when_the_rate_allows_it():
    clock = FakeClock()
    watched = watch(clock, rows_per_s=10)
    watched.take([Work([0])] * 4, [{}] * 4)
    assert watched.next_at == clock() + 0.4


def test_of_many_rows_some_are_taken_evenly_and_copied():
    watched = watch(FakeClock())
    many = Work([0] * 500 + [1] * 500)
    watched.take([many], [{}])
    many.inputs["x"][:] = 1
    assert counts(watched) == [[ROWS_AT_ONCE / 2, ROWS_AT_ONCE / 2]]


def test_a_request_that_failed_is_left_out_and_the_others_count():
    watched = watch(FakeClock())
    watched.take([Work([0]), Work([1]), Work([1])], [BackendFailed("no"), {}, {}])
    assert counts(watched) == [[0, 2]]


def test_rows_count_for_as_long_as_the_window_is():
    clock = FakeClock()
    watched = watch(clock)
    watched.take([Work([0])], [{}])
    assert counts(watched) == [[1, 0]]
    clock.now += WINDOW_S * (PARTS - 1) / PARTS
    watched.take([Work([1])], [{}])
    assert counts(watched) == [[1, 1]]
    clock.now += WINDOW_S / PARTS
    assert counts(watched) == [[0, 1]]
    clock.now += 10 * WINDOW_S
    assert counts(watched) == [[0, 0]]


def test_the_memory_of_what_waits_is_bounded():
    watched = watch(FakeClock())
    large = Work([[0.0] * (MOST_SAMPLE_BYTES // 4 // 2)] * 5)
    for _ in range(3 * MOST_WAITING_BYTES // MOST_SAMPLE_BYTES):
        watched.take([large], [{}])  # two rows each
    (total,) = counts(watched)
    assert round(sum(total)) == 2 * MOST_WAITING_BYTES // MOST_SAMPLE_BYTES
    watched.take([Work([[0.0] * (MOST_SAMPLE_BYTES // 4 + 1)])], [{}])
    assert not watched.has_waiting
    for _ in range(2 * MOST_WAITING_BYTES // ENTRY_BYTES):
        watched.take([Work([0])], [{}])
    assert round(sum(counts(watched)[0]) - sum(total)) < MOST_WAITING_BYTES // ENTRY_BYTES


def test_a_sample_that_fails_ends_the_sampling_and_nothing_else(caplog):
    watched = watch(FakeClock())
    watched.take([Work([0])], [])
    assert watched.next_at == float("inf")
    assert "a batch cannot be sampled" in caplog.text
