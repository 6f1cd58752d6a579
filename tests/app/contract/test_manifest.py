"""manifest.json lists the files of a version, and only those."""

import json

import pytest

from app.contract.files.regular import open_regular
from app.contract.manifest import (
    check_listing,
    is_inside,
    read_manifest,
    verify_file,
    verify_manifest,
    write_manifest,
)
from app.errors import VersionRefused


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


def test_the_first_file_that_is_missing_or_not_listed_is_named(version):
    added = [version / "b", version / "a"]
    for path in added:
        path.write_text("new")
    with pytest.raises(VersionRefused, match="/1: a is on disk but not in the manifest"):
        verify_manifest(version)
    write_manifest(version)
    for path in added:
        path.unlink()
    with pytest.raises(VersionRefused, match="/1: a is in the manifest but not on disk"):
        verify_manifest(version)


def test_a_listed_file_that_cannot_be_opened_is_refused(version):
    (version / "weights").write_text("1234")
    write_manifest(version)
    (version / "weights").unlink()
    (version / "weights").symlink_to("nowhere")
    with pytest.raises(VersionRefused, match=r"/1: .*No such file.*weights"):
        verify_manifest(version)


def test_a_manifest_that_is_missing_is_named_and_not_part_of_the_listing(version):
    manifest = read_manifest(version)
    (version / "manifest.json").unlink()
    check_listing(version, manifest)
    with pytest.raises(VersionRefused, match=r"manifest\.json: No such file"):
        read_manifest(version)


def test_files_are_opened_by_the_opener_that_is_given(version, tmp_path):
    moved = tmp_path / "moved"

    def opener(path):
        return open_regular(version / path.relative_to(moved))

    entry = read_manifest(moved, opener).files["model.json"]
    verify_file(moved / "model.json", entry, opener)
    with pytest.raises(VersionRefused, match=rf"moved/model\.onnx: \d+ bytes, the manifest says {entry.size}"):
        verify_file(moved / "model.onnx", entry, opener)


@pytest.mark.parametrize("name", ["../model.json", "/etc/passwd", "/", "//", "a/../b", "", ".", "a//b", "./a"])
def test_a_manifest_names_files_inside_the_version_alone(version, name):
    document = json.loads((version / "manifest.json").read_text())
    document["files"][name] = {"size": 1, "sha256": "0" * 64}
    (version / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(VersionRefused, match="is not the path of a file inside the version"):
        verify_manifest(version)


def test_no_path_inside_a_version_has_a_nul():
    assert is_inside("a/b")
    assert not is_inside("a\0b")
