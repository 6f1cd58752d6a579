"""Files of other programs: only regular ones are read, up to a limit, and a walk of directories always ends."""

import os
import socket
from contextlib import closing

import pytest

from app.contract.files.regular import read_file, shown
from app.contract.files.tree import DEEPEST, walk
from app.errors import VersionRefused


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "is a FIFO; it must be a regular file"),
        (os.mkdir, "is a directory; it must be a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device; it must be a regular file"),
        (lambda path: path.symlink_to("/dev/tty"), "device"),
        (lambda path: path.write_bytes(bytes(101)), "has 101 bytes; at most 100 bytes are read"),
        (lambda path: path.symlink_to("/proc/self/maps"), "grows while it is read; at most 100 bytes are read"),
    ],
)
def test_only_a_small_regular_file_is_read(path, make, message):
    make(path)
    with pytest.raises((VersionRefused, OSError), match=message):
        read_file(path, 100)


def test_a_socket_is_not_a_file(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(path.name)
        with pytest.raises(OSError, match="No such device or address"):
            read_file(path, 100)


def test_links_to_files_are_read_and_no_file_stays_open(path):
    path.write_bytes(b"content")
    link = path.with_name("link")
    link.symlink_to(path)
    before = len(os.listdir("/proc/self/fd"))
    assert read_file(link, 7) == b"content"
    with pytest.raises(VersionRefused):
        read_file(link, 6)
    assert len(os.listdir("/proc/self/fd")) == before


def test_names_are_printable_in_messages():
    assert shown("vocabulary.txt") == "vocabulary.txt"
    assert shown("словарь.txt") == "словарь.txt"
    assert shown("two\nlines") == r"'two\nlines'"
    assert shown(os.fsdecode(b"\xff")) == r"'\udcff'"
    assert len(shown("a" * 10_000)) < 500


def test_a_walk_lists_files_and_directories_and_follows_no_link_to_a_directory(tmp_path):
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").touch()
    (tmp_path / ".hidden").touch()
    for name in "ab":
        (tmp_path / name).symlink_to(".")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "self").symlink_to("self")
    found = {entry.name: entry.is_directory for entry in walk(tmp_path)}
    assert found == dict.fromkeys([".hidden", "a", "b", "gone", "self", "variables/data"], False) | {"variables": True}
    assert ".hidden" not in {entry.name for entry in walk(tmp_path, hidden=False)}


def test_a_walk_ends_at_its_limits(tmp_path):
    for number in range(5):
        (tmp_path / str(number)).touch()
    assert len(list(walk(tmp_path, limit=5))) == 5
    with pytest.raises(VersionRefused, match=f"{tmp_path} has more than 4 files and directories below it"):
        list(walk(tmp_path, limit=4))
    (tmp_path / "/".join("d" * (DEEPEST + 1))).mkdir(parents=True)
    with pytest.raises(VersionRefused, match=f"{tmp_path} has directories more than {DEEPEST} deep"):
        list(walk(tmp_path))
