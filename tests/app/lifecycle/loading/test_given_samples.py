"""Samples that an operator gives, as arrays of an .npz file."""

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.errors import VersionRefused
from app.lifecycle.loading.given_samples import GivenSamples

TEXTS = ModelSpec(
    name="m",
    inputs=(TensorSpec(name="x", dtype="string", shape=(-1,)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=()),),
    opset=1,
    trained_on="nothing",
)


SCALED = ModelSpec(
    name="m",
    inputs=(
        TensorSpec(name="x", dtype="float32", shape=(2,)),
        TensorSpec(name="weight", dtype="float32", shape=(), optional=True),
        TensorSpec(name="alpha", dtype="float32", shape=(2,), batched=False, optional=True),
    ),
    outputs=(TensorSpec(name="y", dtype="float32", shape=()),),
    opset=1,
    trained_on="nothing",
)


def given(tmp_path, spec=TEXTS, **arrays):
    np.savez_compressed(tmp_path / "samples.npz", **arrays)
    return GivenSamples.read(tmp_path / "samples.npz").tensors(spec)


def test_optional_inputs_may_be_missing(tmp_path):
    inputs, _ = given(tmp_path, SCALED, x=[[1, 2], [3, 4]])
    assert list(inputs) == ["x"]
    inputs, _ = given(tmp_path, SCALED, x=[[1, 2], [3, 4]], weight=[1, 2])
    assert inputs["weight"].tolist() == [1, 2]


def test_a_value_without_a_batch_dimension_does_not_belong_to_a_sample(tmp_path):
    with pytest.raises(
        VersionRefused, match=r"has values of 'alpha', which has no batch dimension; leave it out: samp"
    ):
        given(tmp_path, SCALED, x=[[1, 2], [3, 4]], alpha=[[1, 2], [1, 2]])


def test_strings_are_read(tmp_path):
    inputs, _ = given(tmp_path, x=np.array([["a", "bc"]]))
    assert inputs["x"].tolist() == [[b"a", b"bc"]]


def test_more_strings_than_are_read_are_refused_before_they_are_made(tmp_path):
    with pytest.raises(VersionRefused, match=r"samples\.npz: it has 2097152 strings; at most 1048576 are read"):
        given(tmp_path, x=np.full((2, 2**20), "a", "S1"))
