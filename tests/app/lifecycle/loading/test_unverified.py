"""Checks of a version without golden samples, with generated inputs."""

import io
import itertools
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from app.contract.extent import BATCH_LIMIT_BYTES
from app.contract.model_spec import ModelSpec
from app.contract.strings import held_bytes
from app.contract.tensor_spec import TensorSpec
from app.errors import BackendFailed, VersionRefused
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


def test_a_rounding_difference_is_ignored():
    assert why(lambda x, ids: total(x, ids) * (1 + 1e-6 * (len(x) > 1))) == ""


def test_whole_numbers_must_be_equal():
    assert "differs" in why(lambda x, ids: ids + (len(x) > 1))
    assert why(lambda x, ids: ids) == ""


def test_a_batch_that_does_not_run_is_not_a_batch():
    def only_one(x, ids):
        if len(x) > 1:
            raise BackendFailed("one row, please")
        return total(x, ids)

    assert why(only_one) == f"a batch of {ROWS} does not run: one row, please"


def test_a_graph_that_cannot_batch_runs_single_instances():
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


def test_a_graph_that_fails_with_every_input_is_reported():
    def never(x, ids):
        raise BackendFailed("ONNX Runtime: no")

    assert found(never) == (None, "no generated input runs: ONNX Runtime: no")


STRINGS = ModelSpec(
    name="m",
    inputs=(TensorSpec(name="x", dtype="string", shape=()),),
    outputs=(TensorSpec(name="y", dtype="int64", shape=()),),
    opset=1,
    trained_on="nothing",
)


class Strings(Answering):
    def run(self, inputs):
        return {"y": np.array([self.answer(each) for each in inputs["x"]])}


def pixels(data):
    try:
        return int(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).sum())
    except OSError as error:
        raise BackendFailed("not an image") from error


def test_strings_are_digits_and_for_a_graph_that_decodes_images_they_are_images():
    assert examine(Strings(int), STRINGS, may_batch=True)[0]["x"].tolist() == [
        b"8",
        b"6",
        b"5",
        b"2",
        b"3",
        b"0",
        b"0",
        b"0",
    ]
    samples, alone = examine(Strings(pixels), STRINGS, may_batch=True)
    assert alone == ""
    assert len(set(map(pixels, samples["x"]))) > 1


def test_known_inputs_take_the_place_of_generated_ones():
    known = {"x": np.array([[1.0], [2.0]], np.float32), "id": np.array([3, 4])}
    assert examine(Answering(total), SPEC, may_batch=True, known=known) == (known, "")


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"x": np.zeros((2, 1), np.float32)}, r"model_warmup has the inputs \['x'\], and the model \['id', 'x'\]"),
        (
            {"x": np.zeros((2, 1)), "id": np.zeros(2, np.int64)},
            r"float64 of shape \(1,\) for 'x'; the model takes a list",
        ),
        ({"x": np.zeros((2, 1), np.float32), "id": np.zeros((2, 1), np.int64)}, "for 'id'; the model takes one int64"),
    ],
)
def test_known_inputs_that_do_not_match_are_refused(known, message):
    with pytest.raises(VersionRefused, match=message):
        examine(Answering(total), SPEC, may_batch=True, known=known)


class Recording(Answering):
    """Answers with the first input, unless its largest size is another one; reports how many bytes it was given."""

    def __init__(self, size=None):
        self.size = size
        self.largest_bytes = 0

    def run(self, inputs):
        self.largest_bytes = max(self.largest_bytes, sum(map(held_bytes, inputs.values())))
        first = next(iter(inputs.values()))
        if self.size not in {None, max(first.shape[1:])}:
            raise BackendFailed("not that size")
        return {"y": first}


def of_inputs(*shapes, dtype="int8"):
    inputs = tuple(TensorSpec(name=f"x{at}", dtype=dtype, shape=shape) for at, shape in enumerate(shapes))
    return replace_inputs(SPEC, inputs)


def replace_inputs(spec, inputs):
    return spec.model_copy(update={"inputs": inputs})


def examined(spec, backend=None):
    """Samples, the reason to run alone, and the largest number of bytes that were allocated at a time."""
    tracemalloc.start()
    try:
        samples, alone = examine(backend or Recording(), spec, may_batch=True)
        return samples, alone, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_larger_an_instance_the_fewer_are_generated():
    samples, alone, peak_bytes = examined(of_inputs(*[(2**22,)] * 5))
    assert alone == ""
    assert [len(values) for values in samples.values()] == [3] * 5
    assert sum(map(held_bytes, samples.values())) <= BATCH_LIMIT_BYTES
    assert peak_bytes < 3 * BATCH_LIMIT_BYTES  # the samples, their reverse and the answers; no 8-byte numbers


def test_no_inputs_are_generated_that_have_more_bytes_together_than_a_batch():
    samples, alone, peak_bytes = examined(of_inputs(*[(2**25,)] * 3))
    assert samples is None
    assert alone == "no input can be generated: an instance has 100663296 bytes; 1 must fit into 67108864 bytes"
    assert peak_bytes < 2**20


@pytest.mark.parametrize(("dimensions", "size"), [(1, 224), (2, 224), (3, 64), (4, 32), (5, 16), (8, 1)])
def test_sizes_that_vary_are_tried_as_far_as_two_instances_fit(dimensions, size):
    backend = Recording(size)
    samples, alone, _ = examined(of_inputs((-1,) * dimensions, dtype="float32"), backend)
    assert alone == ""
    assert samples["x0"].shape[1:] == (size,) * dimensions
    assert backend.largest_bytes <= BATCH_LIMIT_BYTES


def test_a_size_of_which_two_instances_do_not_fit_is_not_tried():
    backend = Recording(224)
    assert examined(of_inputs((-1,) * 4, dtype="float32"), backend)[0] is None
    assert backend.largest_bytes <= BATCH_LIMIT_BYTES


def test_of_inputs_that_do_not_vary_each_kind_of_values_is_tried_once():
    calls = []

    def never(x, ids):
        calls.append(x)
        raise BackendFailed("no")

    fixed = replace_inputs(SPEC, (TensorSpec(name="x", dtype="float32", shape=(2,)), SPEC.inputs[1]))
    examine(Answering(never), fixed, may_batch=True)
    assert len(calls) == 2


def test_samples_have_no_more_strings_than_a_request():
    samples, alone, _ = examined(of_inputs((2**16,), (2**15,), dtype="string"))
    assert alone == ""
    assert [values.shape for values in samples.values()] == [(2, 2**16), (2, 2**15)]
    samples, alone, _ = examined(of_inputs((2**18,), (2**18,), dtype="string"))
    assert samples is None
    assert "an instance has 21495808 bytes and 524288 strings; 1 must fit into" in alone


def test_an_image_is_made_once_for_each_value():
    made = []

    def text(value):
        made.append(value)
        return b"%d" % value

    spec = of_inputs((1000,), dtype="string")
    assert generated(spec, size=1, limit=10, string=text)["x0"].shape == (ROWS, 1000)
    assert made == list(range(10))
