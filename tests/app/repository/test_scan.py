"""Which models are found in a models directory with any content."""

import os

import pytest

from app.repository.places import Places
from app.repository.scan import Unreadable, directories, fingerprint, scan, snapshot, without_versions


@pytest.fixture
def models(tmp_path):
    models = tmp_path / "models"
    for version in ("m/1", "other/1"):
        (models / version).mkdir(parents=True)
        (models / version / "manifest.json").write_text("{}")
    return models


def test_permissions_that_are_given_back_are_noticed(models):
    """They change neither the size of a file nor its time of modification."""
    settings = models / "m" / "serving.json"
    settings.write_text("{}")
    settings.chmod(0)
    before = snapshot(Places(models)), fingerprint(models / "m")
    settings.chmod(0o644)
    assert snapshot(Places(models))["m"] != before[0]["m"]
    assert fingerprint(models / "m") != before[1]


def test_links_in_circles_end_and_their_coming_and_going_is_noticed(models):
    before = snapshot(Places(models))
    for name in "ab":
        (models / "m" / "1" / name).symlink_to(".")
        (models / "m" / name).symlink_to("..")
    after = snapshot(Places(models))
    assert after["m"] != before["m"]
    assert after["other"] == before["other"]
    assert scan(Places(models)) == {"m": [1], "other": [1]}
    assert directories(Places(models)) == [
        models,
        models / "m",
        models / "m" / "1",
        models / "other",
        models / "other" / "1",
    ]


def test_a_version_behind_a_link_is_looked_into(models, tmp_path):
    store = tmp_path / "store"
    (store / "variables").mkdir(parents=True)
    (store / "manifest.json").write_text("{}")
    (models / "m" / "2").symlink_to(store)
    before = snapshot(Places(models))
    assert scan(Places(models))["m"] == [2, 1]
    assert {models / "m" / "2", models / "m" / "2" / "variables"} <= set(directories(Places(models)))
    (store / "variables" / "data").write_text("weights")
    assert snapshot(Places(models))["m"] != before["m"]


def test_too_many_files_are_a_matter_of_their_model(models):
    for number in range(4100):
        (models / "m" / "1" / str(number)).touch()
    mark = fingerprint(models / "m" / "1")
    assert mark == Unreadable(f"{models / 'm' / '1'} has more than 4096 files and directories below it")
    assert fingerprint(models / "other" / "1") == fingerprint(models / "other" / "1")
    assert snapshot(Places(models)).keys() == {"m", "other"}


def test_broken_and_circular_links_are_not_models(models):
    (models / "gone").symlink_to("nowhere")
    (models / "self").symlink_to("self")
    (models / "m" / "3").symlink_to("3")
    assert scan(Places(models)) == {"m": [1], "other": [1]}
    assert snapshot(Places(models)).keys() == {"m", "other"}


@pytest.mark.parametrize("name", [b"\xff", b"two\nlines", b"\x1b[31m"])
def test_directories_whose_names_cannot_be_printed_are_left_out(models, name):
    (models / os.fsdecode(name) / "1").mkdir(parents=True)
    (models / os.fsdecode(name) / "1" / "manifest.json").write_text("{}")
    assert scan(Places(models)).keys() == snapshot(Places(models)).keys() == {"m", "other"}


@pytest.mark.parametrize("version", ["v1", "-1", "+1", "9223372036854775808", "²", "2.0"])
def test_a_model_without_a_version_is_known(models, version):
    (models / "odd" / version).mkdir(parents=True)
    (models / "odd" / version / "model.onnx").write_bytes(b"")
    (models / ".hidden").mkdir()
    assert scan(Places(models)) == {"m": [1], "other": [1]}
    assert without_versions(Places(models)) == ["odd"]


def write_manifests(models, *names):
    for name in names:
        (models / name).mkdir(parents=True)
        (models / name / "manifest.json").write_text("{}")


def test_names_of_versions_are_those_of_tensorflow_serving(models):
    write_manifests(models, "padded/0", "padded/00000123", "padded/45", "padded/9223372036854775807")
    places = Places(models)
    assert scan(places)["padded"] == [9223372036854775807, 123, 45, 0]
    place = places.of("padded")
    assert [place.version_directory(each).name for each in (123, 45, 0)] == ["00000123", "45", "0"]
    assert place.version_directory(46) == models / "padded" / "46"
    assert Places(models).of("absent").version_directory(1) == models / "absent" / "1"


def test_of_two_directories_with_one_number_the_shorter_name_counts_and_this_is_logged_once(models, caplog):
    write_manifests(models, "twice/007", "twice/7", "twice/00007")
    (models / "twice" / "0008").mkdir()
    (models / "twice" / "8").write_text("not a directory")
    places = Places(models)
    assert [scan(places)["twice"] for _ in range(2)] == [[7], [7]]
    assert places.of("twice").version_directory(7).name == "7"
    assert places.of("twice").version_directory(8).name == "0008"
    assert caplog.messages == [
        f"model twice: the directory 7 counts, and the directory {hidden} does not" for hidden in ("007", "00007")
    ]


def test_a_link_with_leading_zeros_is_looked_into(models, tmp_path):
    write_manifests(tmp_path, "store")
    (models / "m" / "002").symlink_to(tmp_path / "store")
    before = snapshot(Places(models))
    assert scan(Places(models))["m"] == [2, 1]
    (tmp_path / "store" / "data").write_text("weights")
    assert snapshot(Places(models))["m"] != before["m"]


def test_only_a_model_that_can_be_read_is_known_to_have_no_version(models, monkeypatch):
    monkeypatch.setattr("app.repository.version_directories.MODEL_ENTRIES", 3)
    for number in range(4):
        (models / "odd" / str(number)).mkdir(parents=True)
    assert without_versions(Places(models)) == []
