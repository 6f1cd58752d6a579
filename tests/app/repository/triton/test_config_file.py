"""Values of config.pbtxt that no model has: refused in one sentence, before anything is computed with them."""

import time
from functools import partial

import pytest

from app.errors import VersionRefused
from app.repository.told import Told
from app.repository.triton.config_file import read_config
from app.repository.triton.model import serving_defaults, signature
from app.repository.triton.settings import stated_signature

HUGE = 2**63 - 1


def read(tmp_path, text):
    path = tmp_path / "config.pbtxt"
    path.write_text(text)
    config = read_config(tmp_path)
    return config and stated_signature(config, tmp_path)


def tensor(dims, *, kind="input", more=""):
    return f'max_batch_size: 4 {kind} {{ name: "x" data_type: TYPE_FP32 dims: {dims} {more} }}'


def warmup(dims="[ 4 ]", *, data_type="TYPE_FP32", values="zero_data: true"):
    return (
        f'model_warmup {{ name: "w" inputs {{ key: "x" value {{ data_type: {data_type} dims: {dims} {values} }} }} }}'
    )


SHAPES = {
    "many dims, reshaped": (
        tensor([HUGE] * 40_000, more="reshape { shape: [ 4 ] }"),
        "dims of 'x' has 40000 dimensions; at most 8",
    ),
    "many dims of an output": (tensor([1] * 9, kind="output"), "dims of 'x' has 9 dimensions; at most 8"),
    "a reshape to many dims": (
        tensor([4], more=f"reshape {{ shape: {[HUGE] * 40_000} }}"),
        "reshape of 'x' has 40000 dimensions; at most 8",
    ),
    "many dims of a sample": (
        warmup([HUGE] * 40_000),
        "dims of 'x' in model_warmup 'w' has 40000 dimensions; at most 8",
    ),
    "more dims than NumPy has": (warmup([1] * 100), "dims of 'x' in model_warmup 'w' has 100 dimensions; at most 8"),
    "300 dims, whose product has more digits than Python prints": (
        warmup([HUGE] * 300),
        "dims of 'x' in model_warmup 'w' has 300 dimensions; at most 8",
    ),
    "a large dim": (tensor([HUGE]), "dims of 'x' has the size 9223372036854775807; at most 67108864"),
    "a large dim of a sample": (warmup([4, HUGE]), "dims of 'x' in model_warmup 'w' has the size 9223372036854775807"),
}


@pytest.mark.parametrize(("text", "expected"), SHAPES.values(), ids=SHAPES.keys())
def test_shapes_that_no_tensor_has_are_refused_before_they_are_multiplied(tmp_path, text, expected):
    with pytest.raises(VersionRefused) as refused:
        read(tmp_path, text)
    assert expected in refused.value.message


def test_the_product_of_huge_dims_is_not_computed(tmp_path):
    """40,000 of them took 5 s, in which no other thread ran; to read the text takes most of the time left."""
    began = time.process_time()
    with pytest.raises(VersionRefused):
        read(tmp_path, tensor([HUGE] * 40_000, more="reshape { shape: [ 4 ] }"))
    assert time.process_time() - began < 3


NUMBERS = {
    "an input": (tensor([4]).replace("TYPE_FP32", "999"), "input.data_type is 999; one of TYPE_INVALID, TYPE_BOOL, "),
    "a sample": (warmup(data_type="77"), "model_warmup.inputs.data_type is 77; one of TYPE_INVALID, TYPE_BOOL, "),
    "a kind of instance": ("instance_group { kind: 9 }", "instance_group.kind is 9; one of KIND_AUTO, KIND_GPU, "),
    "what happens at a timeout": (
        "dynamic_batching { default_queue_policy { timeout_action: -1 } }",
        "dynamic_batching.default_queue_policy.timeout_action is -1; one of REJECT, DELAY is expected",
    ),
}


@pytest.mark.parametrize(("text", "expected"), NUMBERS.values(), ids=NUMBERS.keys())
def test_a_number_in_place_of_a_name_must_have_one(tmp_path, text, expected):
    with pytest.raises(VersionRefused) as refused:
        read(tmp_path, text)
    assert expected in refused.value.message


NAMES = {
    "labels": (tensor([4], kind="output", more=r'label_filename: "a\000b"'), "is not next to config.pbtxt"),
    "a sample": (warmup(values=r'input_data_file: "a\000b"'), "; name a file in warmup/"),
    "the graph": (r'default_model_filename: "a\000b"', "; name a file or directory inside the version"),
}


@pytest.mark.parametrize(("text", "expected"), NAMES.values(), ids=NAMES.keys())
def test_no_name_of_a_file_has_a_nul(tmp_path, text, expected):
    with pytest.raises(VersionRefused) as refused:
        read(tmp_path, text)
    assert expected in refused.value.message


@pytest.mark.parametrize("target", ["config.pbtxt", "gone"])
def test_a_link_that_leads_nowhere_is_not_taken_for_no_file(tmp_path, target):
    """A version would be served with other shapes, batches and labels than the file states."""
    (tmp_path / "config.pbtxt").symlink_to(target)
    for read_facts in (partial(signature, told=Told()), serving_defaults):
        with pytest.raises(VersionRefused, match=r"config\.pbtxt is a link to nowhere"):
            read_facts(tmp_path)


def test_without_the_file_nothing_is_stated(tmp_path):
    assert (signature(tmp_path, Told()), serving_defaults(tmp_path)) == (None, None)
