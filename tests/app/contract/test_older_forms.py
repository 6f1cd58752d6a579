"""Each form of model.json that a published version has had is read, with the meaning that it had."""

import json

import pytest

from app.contract.model_spec import ModelSpec

SCORES = {"name": "probabilities", "dtype": "float32", "shape": [2], "minimum": 0.0, "maximum": 1.0}
LABELS = {"kind": "classification", "output": "probabilities", "labels": ["a", "b"]}
COMMON = {
    "format_version": 1,
    "name": "older",
    "description": "",
    "outputs": [SCORES],
    "postprocessing": LABELS,
    "batching": {"max_batch_size": 64},
    "opset": 17,
    "trained_on": "nothing",
    "frameworks": {"tensorflow": "2.21.0"},
}
IDS = {"name": "token_ids", "dtype": "int32", "shape": [-1], "minimum": 0.0, "maximum": 4.0}
TEXT = {"kind": "text", "input": "token_ids", "vocabulary": "vocabulary.txt", "max_length": 8, "keep": "first"}


def pixels(*shape):
    return [{"name": "pixels", "dtype": "uint8", "shape": shape, "minimum": None, "maximum": None}]


def image(*steps):
    return {
        "kind": "image",
        "input": "pixels",
        "steps": [{"step": step, "arguments": arguments} for step, arguments in steps],
    }


# The commit that published the first version of the form, and what it has.
FORMS = {
    "b56e6cfc, grey images": {
        "inputs": pixels(28, 28),
        "preprocessing": image(("trim", {}), ("fit", {"size": 28}), ("extend", {"size": 28}), ("grey", {})),
    },
    "a3a17c79, colour images": {
        "inputs": pixels(64, 64, 3),
        "preprocessing": image(("crop_square", {}), ("resize", {"height": 64, "width": 64})),
    },
    "95f5b81c, texts without a scheme": {"inputs": [IDS], "preprocessing": TEXT},
    "eb9e1119, texts with a scheme, tensors without finite": {
        "inputs": [IDS],
        "preprocessing": TEXT | {"scheme": "words"},
    },
    "b8099099, tensors with finite": {
        "inputs": [IDS | {"finite": True}],
        "outputs": [SCORES | {"finite": True}],
        "preprocessing": TEXT | {"scheme": "words"},
    },
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_form_is_read(tmp_path, form):
    (tmp_path / "model.json").write_text(json.dumps(COMMON | form))
    spec = ModelSpec.read(tmp_path)
    given = COMMON | form
    assert [tensor.name for tensor in spec.inputs] == [tensor["name"] for tensor in given["inputs"]]
    assert spec.preprocessing.kind == given["preprocessing"]["kind"]
    assert spec.postprocessing.labels == ("a", "b")
    assert spec.batching.max_batch_size == 64


def test_what_an_older_form_leaves_out_is_as_it_was(tmp_path):
    """Words are the scheme of a text without one."""
    (tmp_path / "model.json").write_text(json.dumps(COMMON | FORMS["95f5b81c, texts without a scheme"]))
    text = ModelSpec.read(tmp_path).preprocessing
    assert text.scheme == "words"
