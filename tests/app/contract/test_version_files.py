"""model.json, manifest.json and golden.npz refuse what they cannot mean."""

import json

import numpy as np
import pytest

from app.contract.golden import Golden, RawSample
from app.contract.manifest import verify_manifest, write_manifest
from app.contract.model_spec import ModelSpec
from app.errors import VersionRefused
from tests.support.tiny_models import write_brightness_model, write_words_model


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
