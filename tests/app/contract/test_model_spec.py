"""Which models may predict the next token, and what their scores are called."""

import json

import pytest

from app.contract.labels import labels_of
from app.contract.model_spec import ModelSpec
from app.contract.steps import Classification, NextToken, TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import LINE_END, UNKNOWN, Tokenizer
from app.errors import VersionRefused

TOKENIZER = Tokenizer((LINE_END, "king", ","), max_length=8, keep="last", scheme="lines")

DOCUMENT = {
    "name": "plays",
    "inputs": [{"name": "token_ids", "dtype": "int32", "shape": [-1], "minimum": 0, "maximum": 4}],
    "outputs": [{"name": "probabilities", "dtype": "float32", "shape": [4]}],
    "preprocessing": {"kind": "text", "input": "token_ids", "scheme": "lines", "max_length": 8, "keep": "last"},
    "postprocessing": {"kind": "next-token", "output": "probabilities"},
    "opset": 17,
    "trained_on": "nothing",
}


def read(directory, **change):
    (directory / "model.json").write_text(json.dumps(DOCUMENT | change))
    return ModelSpec.read(directory)


def token_ids(**change):
    return [DOCUMENT["inputs"][0] | change]


def test_a_score_for_each_id_from_1_up_is_accepted_and_survives_the_disk(tmp_path):
    spec = read(tmp_path)
    assert spec.postprocessing == NextToken(output="probabilities")
    assert spec.preprocessing == TextPreprocessing(input="token_ids", scheme="lines", max_length=8, keep="last")
    (tmp_path / "again").mkdir()
    spec.write(tmp_path / "again")
    assert ModelSpec.read(tmp_path / "again") == spec


def test_a_text_is_split_into_words_where_no_scheme_is_stated(tmp_path):
    assert read(tmp_path, preprocessing=DOCUMENT["preprocessing"] | {"scheme": "words"}) == read(
        tmp_path, preprocessing={key: value for key, value in DOCUMENT["preprocessing"].items() if key != "scheme"}
    )


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"outputs": [DOCUMENT["outputs"][0] | {"shape": [5]}]}, r"4 labels require a float32 output of shape \(4,\)"),
        ({"outputs": [DOCUMENT["outputs"][0] | {"shape": [-1, 4]}]}, r"'probabilities' is float32 \(-1, 4\)"),
        ({"outputs": [DOCUMENT["outputs"][0] | {"dtype": "int32"}]}, r"'probabilities' is int32 \(4,\)"),
        ({"inputs": token_ids(maximum=5)}, r"5 labels require"),
        ({"inputs": token_ids(maximum=None)}, "one input that states its largest id"),
        ({"inputs": token_ids(maximum=4.5)}, "one input that states its largest id"),
        ({"inputs": token_ids(maximum=float("inf"))}, "finite number"),
        ({"inputs": token_ids(maximum=float("nan"))}, "finite number"),
        ({"preprocessing": None}, "the next token requires a text model"),
        (
            {
                "inputs": [{"name": "pixels", "dtype": "uint8", "shape": [4, 4], "maximum": 4}],
                "preprocessing": {"kind": "image", "input": "pixels", "steps": []},
            },
            "the next token requires a text model",
        ),
        ({"postprocessing": {"kind": "next-token", "output": "scores"}}, "reads 'scores', outputs are"),
        ({"postprocessing": {"kind": "next-word", "output": "probabilities"}}, "next-token"),
        (
            {"postprocessing": {"kind": "next-token", "output": "probabilities", "labels": ["a", "b", "c", "d"]}},
            r"next-token\.labels",
        ),
        ({"preprocessing": DOCUMENT["preprocessing"] | {"scheme": "letters"}}, r"text\.scheme"),
    ],
)
def test_the_next_token_of_what_has_no_score_for_each_id_is_refused(tmp_path, change, rule):
    with pytest.raises(VersionRefused, match=rule):
        read(tmp_path, **change)


def test_the_next_token_is_called_what_the_vocabulary_calls_it(tmp_path):
    labels = labels_of(read(tmp_path), TOKENIZER)
    assert labels == (UNKNOWN, LINE_END, "king", ",")


def test_classes_are_called_what_the_spec_calls_them(tmp_path):
    step = Classification(output="probabilities", labels=("a", "b", "c", "d"))
    spec = read(tmp_path, postprocessing=step.model_dump())
    assert labels_of(spec, TOKENIZER) == ("a", "b", "c", "d")


def test_numbers_have_no_labels():
    values = TensorSpec(name="values", dtype="float32", shape=(1,))
    spec = ModelSpec(name="line", inputs=(values,), outputs=(values,), opset=17, trained_on="nothing")
    assert labels_of(spec, None) == ()


def test_only_a_single_input_of_texts_has_rows_of_different_length(tmp_path):
    assert read(tmp_path).sequence == "token_ids"
    other = {"name": "weights", "dtype": "float32", "shape": [3]}
    assert read(tmp_path, inputs=[*DOCUMENT["inputs"], other]).sequence is None
    assert read(tmp_path, preprocessing=None, postprocessing=None).sequence is None
