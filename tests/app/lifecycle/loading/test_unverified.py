"""What generated inputs show of a version without golden samples."""

import itertools

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.steps import BatchingHints
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


def found(answer, spec=SPEC):
    return examine(Answering(answer), spec)


def test_rows_that_do_not_depend_on_each_other_share_batches():
    examined = found(total)
    assert examined.alone == ""
    assert {name: values.shape for name, values in examined.samples.items()} == {"x": (ROWS, 8), "id": (ROWS,)}


def test_generated_rows_are_distinct_and_the_same_each_time():
    first, second = (generated(SPEC, size=4, limit=10) for _ in range(2))
    assert len(np.unique(first["x"], axis=0)) == ROWS
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert first["id"].min() >= 0
    assert first["id"].max() < 10


@pytest.mark.parametrize(
    ("answer", "why"),
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
def test_rows_that_influence_each_other_run_one_at_a_time(answer, why):
    assert why in found(answer).alone


def test_an_answer_that_differs_each_time_is_noticed():
    calls = itertools.count()
    assert "differs" in found(lambda x, ids: total(x, ids) + next(calls)).alone


def test_a_difference_by_rounding_is_none():
    assert found(lambda x, ids: total(x, ids) * (1 + 1e-6 * (len(x) > 1))).alone == ""


def test_whole_numbers_must_be_equal():
    assert "differs" in found(lambda x, ids: ids + (len(x) > 1)).alone
    assert found(lambda x, ids: ids).alone == ""


def test_a_batch_that_does_not_run_is_no_batch():
    def only_one(x, ids):
        if len(x) > 1:
            raise BackendFailed("one row, please")
        return total(x, ids)

    assert found(only_one).alone == f"a batch of {ROWS} does not run: one row, please"


def test_a_graph_that_fixes_its_batch_is_not_asked_for_more():
    spec = SPEC.model_copy(update={"batching": BatchingHints(max_batch_size=1)})
    examined = found(total, spec)
    assert examined.alone == "the graph fixes its first dimension at 1"
    assert examined.samples is not None


@pytest.mark.parametrize("size", [1, 16, 224])
def test_other_sizes_are_tried_until_one_runs(size):
    def demanding(x, ids):
        if x.shape[1] != size or ids.max() > 1:
            raise BackendFailed("not that size")
        return total(x, ids)

    examined = found(demanding)
    assert examined.alone == ""
    assert examined.samples["x"].shape == (ROWS, size)


def test_a_graph_that_runs_with_nothing_says_so():
    def never(x, ids):
        raise BackendFailed("ONNX Runtime: no")

    examined = found(never)
    assert (examined.samples, examined.alone) == (None, "no generated input runs: ONNX Runtime: no")
