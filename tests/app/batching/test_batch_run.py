"""One batch: what the backend gets, and which rows of its answer each work gets."""

import asyncio

import numpy as np
import pytest

from app.batching.batch_run import padding_ratio, run_works, stack
from app.batching.work import BatchTimes, Work
from app.errors import BackendFailed
from app.runtime.backend import Backend


class Recorder(Backend):
    """Records its inputs and returns the outputs that a test sets."""

    provider = "CPUExecutionProvider"

    def __init__(self, answer):
        self.answer, self.inputs = answer, []

    def run(self, inputs):
        self.inputs.append(inputs)
        return self.answer(inputs)


class Ticks:
    """A clock that advances by another power of two at each read, so that a difference identifies the two reads."""

    def __init__(self):
        self.now, self.step = 0.0, 1.0

    def __call__(self):
        self.now += self.step
        self.step *= 2
        return self.now


@pytest.fixture
def work():
    loop = asyncio.new_event_loop()

    def make(length=0, **inputs):
        rows = len(next(iter(inputs.values())))
        future = loop.create_future()
        return Work(inputs=inputs, rows=rows, nbytes=0, enqueued_at=0.0, deadline=1.0, future=future, length=length)

    yield make
    loop.close()


def test_every_output_is_taken_apart_by_the_rows_of_each_work(work):
    backend = Recorder(lambda inputs: {"sum": inputs["x"].sum(axis=1), "first": inputs["x"][:, :1]})
    works = [work(x=np.full((rows, 2), rows, np.float32)) for rows in (2, 1, 3)]
    outcomes = run_works(backend, works, BatchTimes(), clock=Ticks())
    for rows, outcome in zip((2, 1, 3), outcomes, strict=True):
        assert outcome["sum"].tolist() == [2 * rows] * rows
        assert outcome["first"].tolist() == [[rows]] * rows


def test_a_batch_is_padded_with_its_last_row_in_every_input_and_the_padding_is_dropped(work):
    backend = Recorder(lambda inputs: {"y": inputs["a"][:, 0] + inputs["b"][:, 0]})
    alone = work(a=np.array([[1, 9], [2, 9]], np.float32), b=np.array([[10, 9], [20, 9]], np.float32))
    [outcome] = run_works(backend, [alone], BatchTimes(), clock=Ticks(), allowed_batch_sizes=(1, 4))
    [inputs] = backend.inputs
    assert inputs["a"].tolist() == [[1, 9], [2, 9], [2, 9], [2, 9]]
    assert inputs["b"].tolist() == [[10, 9], [20, 9], [20, 9], [20, 9]]
    assert outcome["y"].tolist() == [11, 22]


def test_scores_that_are_not_numbers_fail_the_work_that_has_them_and_no_other(work):
    backend = Recorder(lambda inputs: {"y": inputs["x"], "other": np.full(len(inputs["x"]), np.nan)})
    works = [work(x=np.array([[value]], np.float32)) for value in (1, np.nan, 3, np.inf)]
    good, bad, fine, endless = run_works(backend, works, BatchTimes(), clock=Ticks(), finite_output="y")
    assert (good["y"].tolist(), fine["y"].tolist()) == ([[1]], [[3]])
    for outcome in (bad, endless):
        assert isinstance(outcome, BackendFailed)
        assert outcome.message == "output 'y' holds NaN or infinity"
    assert len(backend.inputs) == 1


def test_outputs_may_have_any_values_where_no_output_must_be_finite(work):
    backend = Recorder(lambda inputs: {"y": inputs["x"]})
    [outcome] = run_works(backend, [work(x=np.array([[np.nan]], np.float32))], BatchTimes(), clock=Ticks())
    assert np.isnan(outcome["y"]).all()


@pytest.mark.parametrize("error", [ValueError("odd"), BackendFailed("even")])
def test_a_batch_that_fails_is_halved_until_the_bad_work_fails_alone(work, error):
    def answer(inputs):
        if 3 in inputs["x"]:
            raise error
        return {"y": inputs["x"]}

    backend = Recorder(answer)
    works = [work(x=np.array([[value]], np.float32)) for value in (1, 2, 3, 4, 5)]
    outcomes = run_works(backend, works, BatchTimes(), clock=Ticks())
    assert [each["x"][:, 0].tolist() for each in backend.inputs] == [[1, 2, 3, 4, 5], [1, 2], [3, 4, 5], [3], [4, 5]]
    bad = outcomes.pop(2)
    assert [outcome["y"].tolist() for outcome in outcomes] == [[[1]], [[2]], [[4]], [[5]]]
    assert bad.message == ("even" if isinstance(error, BackendFailed) else "the backend failed: odd")


def test_the_halves_of_a_batch_are_padded_and_checked_as_the_batch_would_be(work):
    """One of four works fails; of the others, one has a score that is not a number."""

    def answer(inputs):
        if (inputs["x"] == 4).any():
            raise ValueError("four")
        return {"y": inputs["x"][:, 0]}

    backend = Recorder(answer)
    works = [work(x=np.array([[value], [value]], np.float32)) for value in (1, np.nan, 3, 4)]
    outcomes = run_works(backend, works, BatchTimes(), clock=Ticks(), allowed_batch_sizes=(5, 8), finite_output="y")
    good, bad, fine, failed = outcomes
    assert (good["y"].tolist(), fine["y"].tolist()) == ([1, 1], [3, 3])
    assert bad.message == "output 'y' holds NaN or infinity"
    assert failed.message == "the backend failed: four"
    assert [len(inputs["x"]) for inputs in backend.inputs] == [8, 5, 5, 5, 5]


def test_the_times_of_all_halves_are_added(work):
    """Of the clock's reads a batch takes three if it fails, and four if not."""

    def answer(inputs):
        if (inputs["x"] == 4).any():
            raise ValueError("four")
        return {"y": inputs["x"]}

    works = [work(x=np.array([[value]], np.float32)) for value in (1, 4)]
    times = BatchTimes()
    run_works(Recorder(answer), works, times, clock=Ticks())
    clock = Ticks()
    reads = [clock() for _ in range(10)]
    whole, good, failed = reads[:3], reads[3:7], reads[7:]
    assert times.infer_s == pytest.approx(whole[2] - whole[0] + good[2] - good[1] + failed[-1] - failed[0])


def test_the_times_are_those_of_stacking_running_and_taking_apart(work):
    times = BatchTimes()
    # The clock is read at 1, 3, 7 and 15 seconds.
    run_works(Recorder(lambda inputs: {"y": inputs["x"]}), [work(x=np.ones((1, 1)))], times, clock=Ticks())
    assert times == BatchTimes(input_s=2.0, infer_s=4.0, output_s=8.0)


def test_rows_of_a_sequence_are_padded_behind_their_end_with_zeros(work):
    parts = [{"ids": np.array([[1, 2, 3]], np.int32)}, {"ids": np.array([[4], [5]], np.int32)}]
    batch = stack(parts)["ids"]
    assert batch.dtype == np.int32
    assert batch.tolist() == [[1, 2, 3], [4, 0, 0], [5, 0, 0]]
    assert stack(parts[:1]) is parts[0]


@pytest.mark.parametrize(
    ("lengths", "sizes", "padding"),
    [
        ([0, 0, 0], (), 0.0),
        ([2], (), 0.0),
        ([4, 1, 1], (), 0.5),
        ([4, 4], (), 0.0),
        ([0, 0, 0], (4,), 0.25),
        ([2, 1], (4,), 0.625),
        ([2], (4,), 0.75),
        ([0] * 5, (4,), 0.0),  # more than the largest size
    ],
)
def test_the_share_of_padding_counts_shorter_rows_and_further_rows(work, lengths, sizes, padding):
    works = [work(length, ids=np.zeros((1, length or 3), np.int32)) for length in lengths]
    assert padding_ratio(works, allowed_batch_sizes=sizes) == padding
