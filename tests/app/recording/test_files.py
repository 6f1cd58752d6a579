"""Appending to the files of a model: rotation, the cap, errors of the disk, and several writers."""

import errno
import os
import threading

import pytest

from app.contract.recordings.directory import RecordingDirectory
from app.recording import files
from app.recording.files import append

LINE = b"x" * 9 + b"\n"


@pytest.fixture
def directory(tmp_path):
    return RecordingDirectory(tmp_path / "state" / "m")


def write(directory, *lines, max_file_bytes=25, max_files=3):
    left = list(lines)
    while left:
        del left[: append(directory, left, max_file_bytes=max_file_bytes, max_files=max_files)]


def content(directory):
    return {segment.number: segment.path.read_bytes() for segment in directory.segments()}


def test_a_full_file_is_followed_by_the_next_and_the_oldest_is_deleted(directory):
    write(directory, *[LINE] * 5)
    assert content(directory) == {1: 2 * LINE, 2: 2 * LINE, 3: LINE}
    directory.segment(1).feedback.write_bytes(b"{}\n")
    write(directory, *[LINE] * 2)
    assert content(directory) == {2: 2 * LINE, 3: 2 * LINE, 4: LINE}
    assert not directory.segment(1).feedback.exists()


def test_fewer_files_are_kept_at_once_when_the_setting_says_so(directory):
    write(directory, *[LINE] * 6)
    write(directory, LINE, max_files=1)
    assert content(directory) == {4: LINE}


def test_only_the_owner_may_read(directory):
    write(directory, LINE)
    assert directory.path.stat().st_mode & 0o777 == 0o700
    assert directory.segment(1).path.stat().st_mode & 0o777 == 0o600


def test_after_a_torn_line_a_new_one_begins(directory):
    write(directory, LINE)
    with directory.segment(1).path.open("ab") as file:
        file.write(b"torn")
    write(directory, LINE, max_file_bytes=100)
    assert content(directory) == {1: LINE + b"torn\n" + LINE}


def test_a_write_that_fails_half_way_leaves_the_file_as_it_was(directory, monkeypatch):
    write(directory, LINE, max_file_bytes=1000)
    real, calls = os.write, []

    def fill_up(descriptor, data):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, bytes(data)[:7])

    monkeypatch.setattr(files.os, "write", fill_up)
    with pytest.raises(OSError, match="No space left"):
        append(directory, [LINE, LINE], max_file_bytes=1000, max_files=3)
    assert calls == [20, 13]
    assert content(directory) == {1: LINE}


def test_several_threads_lose_and_mix_no_line(directory):
    def many(mark):
        for _ in range(50):
            write(directory, mark * 9 + b"\n", max_file_bytes=205, max_files=100)

    threads = [threading.Thread(target=many, args=(bytes([65 + number]),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = b"".join(content(directory).values()).splitlines()
    assert sorted(lines) == sorted(bytes([65 + number]) * 9 for number in range(4) for _ in range(50))
    assert all(len(data) <= 205 for data in content(directory).values())


def test_a_lock_that_is_not_given_up_is_an_error_and_not_a_wait_forever(directory):
    with (
        directory.locked(create=True),
        pytest.raises(TimeoutError, match="does not give up its lock"),
        directory.locked(timeout_s=0.05),
    ):
        pass


def test_everything_is_deleted_while_others_write(directory):
    write(directory, *[LINE] * 5)
    assert directory.remove_all() == 3
    assert content(directory) == {}
    assert directory.remove_all() == 0
    write(directory, LINE)
    assert content(directory) == {1: LINE}


def test_there_is_nothing_to_delete_without_a_directory(directory):
    assert directory.remove_all() == 0
    assert directory.segments() == []
