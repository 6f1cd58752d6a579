"""How the layouts of versions are distinguished."""

import os

import pytest

from app.errors import VersionRefused
from app.repository.layouts import ForeignFiles, Layout, foreign_files, layout_of


@pytest.fixture
def version(tmp_path):
    directory = tmp_path / "m" / "1"
    directory.mkdir(parents=True)
    return directory


def write(version, *names):
    for name in names:
        (version / name).parent.mkdir(parents=True, exist_ok=True)
        (version / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        ([], None),
        (["variables/variables.index"], None),
        (["notes.txt"], None),
        (["manifest.json", "model.onnx"], Layout.ATELIER),
        (["model.json", "model.onnx", "saved_model.pb"], None),
        (["model.onnx"], Layout.FOREIGN),
        (["saved_model.pb"], Layout.FOREIGN),
        (["model.savedmodel/saved_model.pb"], Layout.FOREIGN),
        (["model.savedmodel/variables/variables.index"], None),
    ],
)
def test_the_form_follows_from_the_files(version, names, layout):
    write(version, *names)
    assert layout_of(version) is layout


@pytest.mark.parametrize(
    ("names", "found", "words"),
    [
        (["model.onnx"], ForeignFiles("model.onnx", None), "model.onnx"),
        (["saved_model.pb"], ForeignFiles(None, ""), "saved_model.pb"),
        (
            ["model.onnx", "model.savedmodel/saved_model.pb"],
            ForeignFiles("model.onnx", "model.savedmodel"),
            "model.onnx and model.savedmodel/saved_model.pb",
        ),
        (["saved_model.pb", "model.savedmodel/saved_model.pb"], ForeignFiles(None, ""), "saved_model.pb"),
    ],
)
def test_the_files_from_which_a_version_can_run(version, names, found, words):
    write(version, *names)
    assert foreign_files(version) == found
    assert foreign_files(version).in_words == words


def test_next_to_a_config_of_triton_any_file_makes_a_version_that_names_the_missing_file(version):
    (version.parent / "config.pbtxt").write_text("")
    assert layout_of(version) is None
    write(version, ".nfs1")
    assert layout_of(version) is None
    write(version, "model.plan")
    assert layout_of(version) is Layout.FOREIGN
    with pytest.raises(VersionRefused, match=r"neither model.onnx nor saved_model.pb nor model.savedmodel/ is in"):
        foreign_files(version)


def test_a_config_of_triton_names_the_file_or_the_directory(version):
    (version.parent / "config.pbtxt").write_text('default_model_filename: "net"')
    write(version, "model.onnx", "net/saved_model.pb")
    assert foreign_files(version) == ForeignFiles(None, "net", is_named=True)
    (version / "net" / "saved_model.pb").unlink()
    with pytest.raises(VersionRefused, match="default_model_filename is 'net', which is not in the version"):
        foreign_files(version)


def test_only_a_regular_file_is_a_graph(version):
    os.mkfifo(version / "model.onnx")
    (version / "saved_model.pb").mkdir()
    assert layout_of(version) is None


@pytest.mark.parametrize(
    ("config", "layout"),
    [
        ('platform: "ensemble"', Layout.FOREIGN),
        ("ensemble_scheduling { }", Layout.FOREIGN),
        ('platform: "onnxruntime_onnx"', None),
        ("platform: {", None),
        ("", None),
    ],
)
def test_a_version_of_an_ensemble_is_empty(version, config, layout):
    """It is refused with the reason; any other version without a file may be a copy in progress."""
    (version.parent / "config.pbtxt").write_text(config)
    assert layout_of(version) is layout


@pytest.mark.parametrize("target", ["backend.json", "gone"])
def test_a_backend_file_that_is_a_link_to_nowhere_is_not_taken_for_none(version, target):
    """The graph would be served without the step around it."""
    write(version, "model.onnx")
    (version / "backend.json").symlink_to(target)
    assert layout_of(version) is Layout.FOREIGN
    with pytest.raises(VersionRefused, match=r"backend\.json: (No such file|Too many levels)"):
        foreign_files(version)
