"""What generated inputs show of a version without golden samples."""

import itertools

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.errors import BackendFailed
from app.lifecycle.loading.unverified import ROWS, examine, generated

SPEC = ModelSpec(
    name="m",
    inputs=(TensorSpec(name="x", dtype="float32", shape=(-1,)), TensorSpec(name="id", dtype="int64", shape=())),
    outputs=(TensorSpec(name="y", dtype="float32", shape=()),),
    opset=1,
    trained_on="nothing",
)


class Answering:
    """A backend whose answer is a function of the inputs."""

    provider = "CPUExecutionProvider"
    runs_inline = True

    def __init__(self, answer):
        self.answer = answer

    def run(self, inputs):
        return {"y": self.answer(inputs["x"], inputs["id"])}

    def limit_calls(self, seconds):
        return None

    def close(self):
        pass


def total(x, ids):
    return x.sum(axis=1) + ids


def found(answer, *, may_batch=True):
    return examine(Answering(answer), SPEC, may_batch=may_batch)


def why(answer):
    """Why instances must not share a batch."""
    return found(answer)[1]


def test_rows_that_do_not_depend_on_each_other_share_batches():
    samples, alone = found(total)
    assert alone == ""
    assert {name: values.shape for name, values in samples.items()} == {"x": (ROWS, 8), "id": (ROWS,)}


def test_generated_rows_are_distinct_and_the_same_each_time():
    first, second = (generated(SPEC, size=4, limit=10) for _ in range(2))
    assert len(np.unique(first["x"], axis=0)) == ROWS
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert first["id"].min() >= 0
    assert first["id"].max() < 10


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            lambda x, ids: total(x, ids) - x.mean(),
            "output 'y' in a batch differs from the answer to each instance alone",
        ),
        (
            lambda x, ids: total(x, ids) + (x[0, 0] < x[-1, 0]) * (len(x) > 1) * 1.0,
            "differs from the answer to each instance alone",
        ),
        (lambda x, ids: total(x, ids) + 1e-3 * len(x), "output 'y' in a batch differs"),
    ],
    ids=["a mean over the batch", "the order", "the size"],
)
def test_rows_that_influence_each_other_must_not_share_a_batch(answer, reason):
    assert reason in why(answer)


def test_an_answer_that_differs_each_time_is_noticed():
    calls = itertools.count()
    assert "differs" in why(lambda x, ids: total(x, ids) + next(calls))


def test_a_difference_by_rounding_is_none():
    assert why(lambda x, ids: total(x, ids) * (1 + 1e-6 * (len(x) > 1))) == ""


def test_whole_numbers_must_be_equal():
    assert "differs" in why(lambda x, ids: ids + (len(x) > 1))
    assert why(lambda x, ids: ids) == ""


def test_a_batch_that_does_not_run_is_no_batch():
    def only_one(x, ids):
        if len(x) > 1:
            raise BackendFailed("one row, please")
        return total(x, ids)

    assert why(only_one) == f"a batch of {ROWS} does not run: one row, please"


def test_a_graph_that_cannot_batch_is_not_asked_to():
    samples, alone = found(lambda x, ids: total(x, ids) - x.mean(), may_batch=False)
    assert (samples is not None, alone) == (True, "")


@pytest.mark.parametrize("size", [1, 16, 224])
def test_other_sizes_are_tried_until_one_runs(size):
    def demanding(x, ids):
        if x.shape[1] != size or ids.max() > 1:
            raise BackendFailed("not that size")
        return total(x, ids)

    samples, alone = found(demanding)
    assert alone == ""
    assert samples["x"].shape == (ROWS, size)


def test_a_graph_that_runs_with_nothing_says_so():
    def never(x, ids):
        raise BackendFailed("ONNX Runtime: no")

    assert found(never) == (None, "no generated input runs: ONNX Runtime: no")
