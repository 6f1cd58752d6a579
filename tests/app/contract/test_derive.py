"""The contract that a graph alone makes."""

import pytest

from app.contract.derive import GraphFacts, TensorFacts, derive
from app.contract.dtypes import NAMES
from app.errors import VersionRefused


def facts(*inputs, outputs=(("y", "tensor(float)", (None, 3)),)):
    return GraphFacts(tuple(TensorFacts(*each) for each in inputs), tuple(TensorFacts(*each) for each in outputs))


def test_the_first_dimension_is_the_batch_and_others_that_vary_stay_open():
    spec = derive("m", facts(("x", "tensor(float)", (None, 3, None)), ("ids", "tensor(int64)", (None,))))
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in spec.inputs] == [
        ("x", "float32", (3, -1)),
        ("ids", "int64", ()),
    ]
    assert spec.outputs[0].shape == (3,)
    assert spec.batching.max_batch_size > 1


def test_numbers_may_be_nan_because_nothing_says_that_they_may_not():
    assert not derive("m", facts(("x", "tensor(float)", (None,)))).inputs[0].finite


def test_a_batch_of_exactly_one_runs_instances_one_at_a_time():
    assert derive("m", facts(("x", "tensor(float)", (1, 3)))).batching.max_batch_size == 1


@pytest.mark.parametrize(("dtype", "names"), NAMES.items())
def test_every_element_type_is_known(dtype, names):
    assert derive("m", facts(("x", names.onnx, (None,)))).inputs[0].dtype == dtype


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (facts(("x", "tensor(float)", ())), r"input 'x' has shape \[\]; its first dimension must be the batch"),
        (facts(("x", "tensor(float)", (4, None))), r"input 'x' has shape \[4, 'any'\]; its first dimension must"),
        (
            facts(("x", "tensor(float)", (None,)), outputs=[("y", "tensor(float)", (3,))]),
            r"output 'y' has shape \[3\]; its first dimension must be the batch: of any size, or 1",
        ),
        (
            facts(("x", "tensor(string)", (None,))),
            r"input 'x' is a tensor\(string\); tensors of bool, uint8, .* served",
        ),
        (
            facts(("x", "tensor(float)", (None,)), outputs=[("p", "seq(map(int64,tensor(float)))", (None,))]),
            "output 'p' is a seq.* export a scikit-learn classifier with zipmap=False",
        ),
        (facts(("x", "tensor(float)", (None, 2**30))), "the graph does not make a contract: .*"),
        (facts(), "the graph does not make a contract: .*at least 1 item"),
    ],
)
def test_a_graph_that_cannot_be_served_is_refused_with_the_tensor(given, error):
    with pytest.raises(VersionRefused, match=error):
        derive("m", given)
