"""model.json, manifest.json and golden.npz refuse what they cannot mean."""

import json
from dataclasses import replace

import numpy as np
import pytest

from app.contract.golden import Golden, RawSample
from app.contract.manifest import verify_manifest, write_manifest
from app.contract.model_spec import ModelSpec
from app.contract.tokenizer import Tokenizer
from app.contract.transforms import check_steps
from app.errors import VersionRefused
from tests.support.tiny_models import write_brightness_model, write_rule_model, write_words_model


@pytest.fixture
def version(tmp_path):
    return write_brightness_model(tmp_path)


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


def test_a_manifest_covers_every_file_below_the_directory(version):
    (version / "variables").mkdir()
    (version / "variables" / "weights").write_bytes(b"1234")
    write_manifest(version)
    verify_manifest(version)
    (version / "variables" / "weights").write_bytes(b"1235")
    with pytest.raises(VersionRefused, match="weights: sha256"):
        verify_manifest(version)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"files": {"model.json": {"size": 1}}}', '{"files": {}, "x": 1}'])
def test_a_broken_manifest_is_refused(version, content):
    (version / "manifest.json").write_text(content)
    with pytest.raises(VersionRefused, match=r"manifest\.json"):
        verify_manifest(version)


def test_golden_samples_survive_the_disk_and_rows_lose_their_padding(tmp_path):
    golden = Golden.read(write_words_model(tmp_path))
    assert golden.rows == 64
    assert golden.row(2)["token_ids"].shape == (1, 3)
    assert golden.raw == (RawSample(name="good.txt", data=b"A good film!", label="positive"),)
    assert golden.tolerance_for("AnyProvider") == 1e-5


def test_equal_golden_samples_give_equal_bytes(tmp_path):
    golden = Golden.read(write_words_model(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    golden.write(tmp_path / "a")
    golden.write(tmp_path / "b")
    assert (tmp_path / "a" / "golden.npz").read_bytes() == (tmp_path / "b" / "golden.npz").read_bytes()


def test_too_few_golden_rows_are_refused(version):
    golden = Golden.read(version)
    few = Golden(
        inputs={name: values[:63] for name, values in golden.inputs.items()},
        outputs={name: values[:63] for name, values in golden.outputs.items()},
        tolerance=golden.tolerance,
    )
    few.write(version)
    with pytest.raises(VersionRefused, match="at least 64"):
        Golden.read(version)


def test_a_pickle_in_a_golden_file_is_never_opened(version):
    np.savez(version / "golden.npz", **{"input:pixels": np.array([print], dtype=object)})
    with pytest.raises(VersionRefused, match="not a golden file"):
        Golden.read(version)


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


def rewrite(version, **changes):
    replace(Golden.read(version), **changes).write(version)


@pytest.mark.parametrize("tolerance", [0.02, float("inf"), float("nan"), -1e-9])
def test_a_golden_file_does_not_say_by_itself_what_is_exact(version, tolerance):
    rewrite(version, tolerance={"default": 1e-5, "CPUExecutionProvider": tolerance})
    with pytest.raises(VersionRefused, match=r"states a tolerance of .* for 'CPUExecutionProvider'; 0 to 0\.01 is"):
        Golden.read(version)


def test_larger_answers_may_differ_by_more(tmp_path):
    version = write_rule_model(tmp_path)
    golden = Golden.read(version)
    outputs = {name: values * np.float32(1000) for name, values in golden.outputs.items()}
    rewrite(version, outputs=outputs, tolerance={"default": 1.0})
    assert Golden.read(version).tolerance_for("any") == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_golden_output_that_is_not_a_number_is_refused(version, value):
    outputs = Golden.read(version).outputs["probabilities"].copy()
    outputs[17, 1] = value
    rewrite(version, outputs={"probabilities": outputs})
    with pytest.raises(VersionRefused, match="the expected output 'probabilities' holds NaN or infinity"):
        Golden.read(version)


def test_too_many_golden_rows_are_refused(version):
    golden = Golden.read(version)
    inputs = {name: np.repeat(values, 65, axis=0) for name, values in golden.inputs.items()}
    outputs = {name: np.repeat(values, 65, axis=0) for name, values in golden.outputs.items()}
    rewrite(version, inputs=inputs, outputs=outputs)
    with pytest.raises(VersionRefused, match="it has 4160 rows; at most 4096 are replayed"):
        Golden.read(version)


def test_too_many_raw_samples_are_refused(version):
    rewrite(version, raw=tuple(RawSample(name=f"{i}.txt", data=b"x", label="dark") for i in range(65)))
    with pytest.raises(VersionRefused, match="it has 65 raw samples; at most 64 are sent"):
        Golden.read(version)


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"x\n" * (2**20 + 1), "at most 1048576 tokens"),
        (b"x" * 2**25 + b"y", "at most 33554432 bytes are read"),
        (b"\xff\n", "codec can't decode"),
    ],
)
def test_an_absurd_vocabulary_is_refused(tmp_path, data, rule):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(data)
    with pytest.raises(VersionRefused, match=rule):
        Tokenizer.read(path, max_length=5, keep="last")


@pytest.mark.parametrize("name", ["../model.json", "/etc/passwd", "a/../b", "", ".", "a//b", "./a"])
def test_a_manifest_names_files_inside_the_version_alone(version, name):
    document = json.loads((version / "manifest.json").read_text())
    document["files"][name] = {"size": 1, "sha256": "0" * 64}
    (version / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(VersionRefused, match="is not the path of a file inside the version"):
        verify_manifest(version)
