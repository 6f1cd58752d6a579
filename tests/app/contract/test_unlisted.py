"""Files without a manifest are hashed once they have stopped changing."""

import hashlib
import os

import pytest

from app.contract.files.settled import SETTLED_S
from app.contract.manifest import VERSION_LIMIT_BYTES
from app.contract.unlisted import check_links, list_file, list_files
from app.errors import VersionRefused


@pytest.fixture
def version(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").write_bytes(b"weights")
    (tmp_path / ".copying").write_bytes(b"of a publication in progress")
    return tmp_path


def newest(directory):
    return max(path.stat().st_ctime for path in directory.rglob("*") if path.is_file())


def test_every_file_is_listed_with_its_size_and_hash(version):
    manifest = list_files(version, now=lambda: newest(version) + SETTLED_S, wait=lambda seconds: None)
    assert {name: entry.size for name, entry in manifest.files.items()} == {"model.onnx": 5, "weights/a.bin": 7}
    assert manifest.files["model.onnx"].sha256 == hashlib.sha256(b"graph").hexdigest()


@pytest.mark.parametrize(
    ("age_s", "waits"), [(0.25, 0.75), (0, 1), (5, 0), (-3600, SETTLED_S)], ids=["new", "now", "old", "in the future"]
)
def test_the_newest_file_is_a_second_old_before_any_is_read(version, age_s, waits):
    waited = []
    list_files(version, now=lambda: newest(version) + age_s, wait=waited.append)
    assert waited == [pytest.approx(waits, abs=1e-3)]


def grow(version):
    (version / "model.onnx").write_bytes(b"graph and more")


def touch(version):
    os.utime(version / "model.onnx", (1, 1))


def add(version):
    (version / "new").write_bytes(b"")


def remove(version):
    (version / "weights" / "a.bin").unlink()


def replace(version):
    (version / "other").write_bytes(b"graph")
    os.replace(version / "other", version / "model.onnx")


def grow_hidden(version):
    """Simulates rsync, which writes the next file."""
    (version / ".copying").write_bytes(b"more of it")


@pytest.mark.parametrize("change", [grow, touch, add, replace, grow_hidden])
def test_files_that_change_during_the_copy_are_refused(version, change):
    with pytest.raises(VersionRefused, match="its files are still changing"):
        list_files(version, wait=lambda seconds: change(version))


def test_a_file_that_disappears_during_the_copy_is_an_error(version):
    with pytest.raises((VersionRefused, OSError)):
        list_files(version, wait=lambda seconds: remove(version))


def test_a_single_file_is_listed_without_its_neighbours(version):
    manifest = list_file(version / "model.onnx", now=lambda: newest(version) + SETTLED_S, wait=lambda seconds: None)
    assert {name: entry.size for name, entry in manifest.files.items()} == {"model.onnx": 5}


@pytest.mark.parametrize("change", [grow, touch, replace])
def test_a_single_file_that_changes_during_the_copy_is_refused(version, change):
    with pytest.raises(VersionRefused, match="its files are still changing"):
        list_file(version / "model.onnx", wait=lambda seconds: change(version))


def test_files_that_are_too_large_together_are_not_read(version):
    read = []
    (version / "huge").touch()
    os.truncate(version / "huge", VERSION_LIMIT_BYTES)
    with pytest.raises(VersionRefused, match=r"its files have .* bytes; a version may have 68719476736"):
        list_files(version, read.append)
    assert read == []


def test_links_inside_a_version_are_followed_and_others_are_refused(version, tmp_path_factory):
    (version / "same").symlink_to("model.onnx")
    check_links(version, "")
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_bytes(b"not yours")
    (version / "other").symlink_to(outside)
    check_links(version, "weights")
    for inside in ("", "other"):
        with pytest.raises(VersionRefused, match="other is a link to a directory, or leads out of the version"):
            check_links(version, inside)
    (version / "other").unlink()
    (version / "weights" / "up").symlink_to("..")
    with pytest.raises(VersionRefused, match="weights/up is a link to a directory, or leads out of the version"):
        check_links(version, "weights")


def test_a_file_that_fails_while_it_is_read_is_refused_with_its_name(tmp_path):
    (tmp_path / "memory.onnx").symlink_to("/proc/self/mem")  # a regular file of which nothing is at position 0
    with pytest.raises(VersionRefused, match=r"memory\.onnx: .*Input/output error"):
        list_file(tmp_path / "memory.onnx")
