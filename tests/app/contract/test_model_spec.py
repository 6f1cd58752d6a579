"""Invalid model.json files are refused; which models may predict the next token, and the names of their scores."""

import json
import re

import pytest

from app.contract.labels import labels_of
from app.contract.model_spec import ModelSpec
from app.contract.steps import Classification, NextToken, TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import LINE_END, UNKNOWN, Tokenizer
from app.contract.transforms import check_steps
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


def test_a_spec_survives_the_disk(version, tmp_path):
    spec = ModelSpec.read(version)
    spec.write(tmp_path)
    assert ModelSpec.read(tmp_path) == spec


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"unknown_key": 1}, "unknown_key"),
        ({"format_version": 2}, "format_version"),
        ({"name": "../escape"}, "name"),
        ({"inputs": []}, "inputs"),
        ({"preprocessing": {"kind": "text", "input": "pixels", "max_length": 5, "keep": "last"}}, "int32 input"),
        ({"preprocessing": {"kind": "image", "input": "nope", "steps": []}}, "'nope'"),
        (
            {"postprocessing": {"kind": "classification", "output": "probabilities", "labels": ["a", "b", "c"]}},
            "3 labels",
        ),
        ({"postprocessing": {"kind": "classification", "output": "nope", "labels": ["a", "b"]}}, "'nope'"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(version, change, rule):
    path = version / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(VersionRefused, match=rule):
        ModelSpec.read(version)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"inputs": [{"name": "pixels", "dtype": "uint8", "shape": [2**62, 4]}]}, "less than or equal to"),
        ({"inputs": [{"name": "pixels", "dtype": "float32", "shape": [2**13, 2**13]}]}, "268435456 bytes; at most"),
        ({"inputs": [{"name": "pixels", "dtype": "uint8", "shape": [4, 0]}]}, "at least 1, or -1"),
        ({"inputs": [{"name": "pixels", "dtype": "uint8", "shape": [1] * 9}]}, "at most 8 items"),
        ({"inputs": [{"name": "pixels", "dtype": "uint8", "shape": [4096, 4096]}]}, "at most 1048576 pixels"),
        ({"inputs": [{"name": f"x{i}", "dtype": "uint8", "shape": [1]} for i in range(65)]}, "at most 64 items"),
        ({"opset": 10**9}, "opset"),
        ({"description": "x" * 2**23}, "at most 8388608 bytes are read"),
        (
            {
                "inputs": [{"name": "ids", "dtype": "int32", "shape": [-1]}],
                "preprocessing": {"kind": "text", "input": "ids", "max_length": 10**12, "keep": "last"},
            },
            "max_length",
        ),
        *(
            (
                {"preprocessing": {"kind": "image", "input": "pixels", "steps": [{"step": step, "arguments": given}]}},
                rule,
            )
            for step, given, rule in [
                ("extend", {"size": 10**9}, "size is 1000000000; at most 2048"),
                ("resize", {"width": 4, "height": -(10**9)}, "height is -1000000000; at most"),
                ("fit", {"size": 10**400}, "size is 10000000000000000000; at most 2048"),
                ("trim", {"fuzz": "x" * 10}, "image steps"),
                ("resize", {"width": 0, "height": 4}, "image steps"),
                ("extend", {"size": -4}, "image steps"),
                ("fit", {"size": 1.5}, "image steps"),
            ]
        ),
    ],
)
def test_a_spec_of_absurd_sizes_is_refused(version, change, rule):
    path = version / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(VersionRefused, match=rule):
        read_and_check_steps(version)


def read_and_check_steps(version):
    spec = ModelSpec.read(version)
    check_steps(spec.preprocessing, spec.inputs[0])


def test_a_spec_that_is_missing_or_not_json_is_named(tmp_path):
    with pytest.raises(VersionRefused, match=r"model\.json: No such file"):
        ModelSpec.read(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(VersionRefused, match=r"model\.json: document: Invalid JSON"):
        ModelSpec.read(tmp_path)


def read_for_images(directory, shape, dtype="uint8"):
    pixels = {"name": "pixels", "dtype": dtype, "shape": shape}
    step = {"kind": "image", "input": "pixels", "steps": []}
    return read(directory, inputs=[pixels], preprocessing=step, postprocessing=None)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("float32", (4, 4)),
        ("uint8", (-1, 4)),
        ("uint8", (4,)),
        ("uint8", (4, 4, 4)),
        ("uint8", (4, 4, 3, 3)),
    ],
)
def test_an_image_has_bytes_a_fixed_size_and_one_or_three_channels(tmp_path, dtype, shape):
    with pytest.raises(VersionRefused, match=re.escape(f"but 'pixels' is {dtype} {shape}")):
        read_for_images(tmp_path, shape, dtype)


@pytest.mark.parametrize("shape", [(2048, 512), (512, 2048), (1024, 1024, 3)])
def test_the_largest_images_are_accepted(tmp_path, shape):
    assert read_for_images(tmp_path, shape).input("pixels").shape == shape


@pytest.mark.parametrize("shape", [(2049, 1), (1, 2049, 3), (1024, 1025)])
def test_larger_images_are_refused(tmp_path, shape):
    with pytest.raises(VersionRefused, match=re.escape(f"but 'pixels' is {shape}")):
        read_for_images(tmp_path, shape)


@pytest.mark.parametrize(("dtype", "shape"), [("float32", (-1,)), ("int32", (4,))])
def test_a_text_has_any_number_of_ids(tmp_path, dtype, shape):
    with pytest.raises(VersionRefused, match=re.escape(f"but 'token_ids' is {dtype} {shape}")):
        read(tmp_path, inputs=token_ids(dtype=dtype, shape=shape))


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
def test_next_token_postprocessing_without_a_score_for_each_id_is_refused(tmp_path, change, rule):
    with pytest.raises(VersionRefused, match=rule):
        read(tmp_path, **change)


def test_the_next_token_has_its_name_in_the_vocabulary(tmp_path):
    labels = labels_of(read(tmp_path), TOKENIZER)
    assert labels == (UNKNOWN, LINE_END, "king", ",")


def test_classes_have_the_names_of_the_spec(tmp_path):
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


def test_a_copy_derives_its_properties_from_its_own_fields():
    x, alpha = TensorSpec(name="x", dtype="float32", shape=(2,)), TensorSpec(name="alpha", dtype="float32", shape=())
    y = TensorSpec(name="y", dtype="float32", shape=())
    spec = ModelSpec(name="m", inputs=(x, alpha), outputs=(y,), opset=1, trained_on="nothing")
    assert spec.required == (x, alpha)
    optional = alpha.model_copy(update={"optional": True})
    copied = spec.model_copy(update={"inputs": (x, optional)})
    assert (copied.required, copied.input_counts) == ((x,), range(1, 3))


def test_at_least_one_input_is_required():
    x = TensorSpec(name="x", dtype="float32", shape=(2,), optional=True)
    y = TensorSpec(name="y", dtype="float32", shape=())
    with pytest.raises(ValueError, match="all inputs are optional; at least one must be required"):
        ModelSpec(name="m", inputs=(x,), outputs=(y,), opset=1, trained_on="nothing")
