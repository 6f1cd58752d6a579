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


def given(tmp_path, **arrays):
    np.savez_compressed(tmp_path / "samples.npz", **arrays)
    return GivenSamples.read(tmp_path / "samples.npz").tensors(TEXTS)


def test_strings_are_read(tmp_path):
    inputs, _ = given(tmp_path, x=np.array([["a", "bc"]]))
    assert inputs["x"].tolist() == [[b"a", b"bc"]]


def test_more_strings_than_are_read_are_refused_before_they_are_made(tmp_path):
    with pytest.raises(VersionRefused, match=r"samples\.npz: it has 2097152 strings; at most 1048576 are read"):
        given(tmp_path, x=np.full((2, 2**20), "a", "S1"))
