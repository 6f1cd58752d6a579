"""Where models are found, next to unrelated files and directories."""

import os

import pytest

from app.errors import ModelNotFound
from app.repository.places import Place, Places
from app.repository.scan import Unreadable, directories, file_fingerprint, scan, snapshot, without_versions
from app.repository.tf_serving.named import NamedModel, NamedModels


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    (directory / "a" / "1").mkdir(parents=True)
    (directory / "a" / "1" / "manifest.json").write_text("{}")
    (directory / "b.onnx").write_bytes(b"graph")
    return directory


def test_directories_and_files_are_found(models):
    places = Places(models)
    assert places.all() == [Place("a", models / "a"), Place("b", models / "b", models / "b.onnx")]
    assert [places.of(name) for name in "ab"] == places.all()
    assert places.of("c") == Place("c", models / "c")
    assert scan(places) == {"a": [1], "b": [1]}
    assert directories(places) == [models, models / "a", models / "a" / "1"]


def test_a_directory_takes_precedence_over_a_file_and_this_is_logged_once(models, caplog):
    (models / "a.onnx").write_bytes(b"graph")
    places = Places(models)
    for _ in range(2):
        assert places.all()[0] == places.of("a") == Place("a", models / "a")
    assert caplog.messages == ["model a: the directory a counts, and the file a.onnx does not"]


@pytest.mark.parametrize("name", ["lost+found", "@eaDir", ".snapshot", "__pycache__", "System Volume Information"])
def test_directories_of_other_programs_are_ignored_without_a_line_in_the_log(models, name, caplog):
    (models / name / "1").mkdir(parents=True)
    (models / name / "1" / "model.onnx").write_bytes(b"graph")
    (models / "empty").mkdir()
    places = Places(models)
    assert [place.name for place in places.all()] == ["a", "b", "empty"]
    assert scan(places) == {"a": [1], "b": [1]}
    assert set(snapshot(places)) == {"a", "b", "empty"}
    assert without_versions(places) == ["empty"]
    assert models / name not in directories(places)
    assert caplog.messages == []


def test_a_change_of_a_file_is_noticed(models):
    before = snapshot(Places(models))
    (models / "new").write_bytes(b"graph")
    os.replace(models / "new", models / "b.onnx")
    after = snapshot(Places(models))
    assert after["b"] != before["b"]
    assert after["a"] == before["a"]
    (models / "b.onnx").unlink()
    assert set(snapshot(Places(models))) == {"a"}
    assert isinstance(file_fingerprint(models / "b.onnx"), Unreadable)


def test_named_models_count_more_than_those_of_the_directory(models, tmp_path, caplog):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    document = {"version_labels": {"stable": 1}}
    named = NamedModels({name: NamedModel(name, elsewhere, document) for name in ("a", "z")})
    places = Places(models, named)
    assert [place.directory for place in places.all()] == [elsewhere, models / "b", elsewhere]
    assert places.of("a").stated == document
    assert caplog.messages == [f"model a: {elsewhere} counts, and {models / 'a'} does not"]


def test_without_a_models_directory_there_are_the_named_models_only(tmp_path):
    places = Places(None, NamedModels({"a": NamedModel("a", tmp_path)}))
    assert places.all() == [places.of("a")] == [Place("a", tmp_path, is_named=True)]
    assert places.roots == [tmp_path]
    with pytest.raises(ModelNotFound, match="Request for unknown model: 'b' is not found; models: a"):
        places.of("b")
