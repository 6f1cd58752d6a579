"""Examples of a model with an optional input that has no batch dimension."""

import pytest

from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.edge.grpc.tfs.examples import read_examples
from app.errors import InvalidInput
from benchmarks.fuzzing.models import version_of
from tests.support.tfs import example, examples

MODEL = version_of(
    ModelSpec(
        name="m",
        inputs=(
            TensorSpec(name="x", dtype="float32", shape=()),
            TensorSpec(name="alpha", dtype="float32", shape=(2,), batched=False, optional=True),
        ),
        outputs=(TensorSpec(name="y", dtype="float32", shape=()),),
        opset=17,
        trained_on="nothing",
    )
)


def read(*each, context=None):
    return {name: values.tolist() for name, values in read_examples(examples(*each, context=context), MODEL).items()}


def test_all_examples_have_one_value():
    assert read(example(x=[1.0]), example(x=[2.0])) == {"x": [1, 2]}
    both = [example(x=[value], alpha=[3.0, 4.0]) for value in (1.0, 2.0)]
    assert read(*both) == {"x": [1, 2], "alpha": [3, 4]}
    assert read(example(x=[1.0]), example(x=[2.0]), context=example(alpha=[3.0, 4.0])) == {
        "x": [1, 2],
        "alpha": [3, 4],
    }


def test_values_that_differ_are_refused():
    with pytest.raises(InvalidInput, match=r"examples\.alpha differs from row to row; 'alpha' has no batch dimension"):
        read(example(x=[1.0], alpha=[3.0, 4.0]), example(x=[2.0], alpha=[3.0, 5.0]))
