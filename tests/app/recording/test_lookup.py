"""A recorded request is found by its id, gets one right answer for each instance, and can be deleted."""

import sqlite3
from contextlib import suppress

import pytest

from app.contract.recordings.directory import RecordingDirectory
from app.contract.recordings.instance import Feedback
from app.contract.recordings.reading import read_recordings
from app.errors import AlreadyKnown, InvalidInput, RequestNotFound
from app.recording import ids as index
from app.recording.files import append
from app.recording.lookup import add, delete, find
from tests.support.recordings import line


@pytest.fixture
def directory(tmp_path):
    return RecordingDirectory(tmp_path / "m")


def write(directory, *lines, max_files=3, max_file_bytes=10_000):
    left = list(lines)
    while left:
        del left[: append(directory, left, max_file_bytes=max_file_bytes, max_files=max_files)]


def read(directory):
    return [
        (each.request_id, each.instance, each.feedback and each.feedback.label)
        for each in read_recordings(directory.path)
    ]


def test_a_request_is_found_as_soon_as_it_is_in_a_file(directory):
    with pytest.raises(RequestNotFound, match="request 'a' is not recorded"):
        find(directory, "a", None)
    write(directory, line("a"), line("b", version=4))
    assert find(directory, "b", None)[:4] == (0, 1, 4, 1000.0)
    write(directory, line("c"))
    assert find(directory, "c", None).offset == len(line("a")) + len(line("b"))
    with pytest.raises(RequestNotFound):
        find(directory, "d", None)


def test_of_several_instances_one_must_be_named(directory):
    write(directory, *(line("a", number, 3) for number in range(3)))
    assert find(directory, "a", 2).instance == 2
    with pytest.raises(InvalidInput, match="has 3 instances; say which one with 'instance', 0 to 2"):
        find(directory, "a", None)
    with pytest.raises(InvalidInput, match="'instance' is 3; request 'a' has 3, numbered from 0 to 2"):
        find(directory, "a", 3)


def test_an_instance_that_was_too_long_for_a_file_is_not_found(directory):
    write(directory, line("a", 0, 2))
    with pytest.raises(RequestNotFound, match="instance 1 of request 'a' is not recorded"):
        find(directory, "a", 1)


def test_each_instance_gets_one_answer(directory):
    write(directory, line("a", 0, 2), line("a", 1, 2), line("b"))
    add(directory, "a", 1, Feedback(5.0, label="dark"))
    with pytest.raises(AlreadyKnown, match="right answer to instance 1 of request 'a' is known: 'dark'; it is not"):
        add(directory, "a", 1, Feedback(6.0, label="bright"))
    add(directory, "b", 0, Feedback(7.0, value=1.5))
    assert read(directory) == [("a", 0, None), ("a", 1, "dark"), ("b", 0, None)]
    assert [each.feedback for each in read_recordings(directory.path)][2] == Feedback(7.0, value=1.5)


def test_an_id_that_a_client_used_twice_is_that_of_the_last_request(directory):
    write(directory, line("a", 0, 2), line("a", 1, 2), line("a", time_s=2000.0))
    assert find(directory, "a", None).time_s == 2000.0
    add(directory, "a", 0, Feedback(5.0, label="dark"))
    assert [label for _, _, label in read(directory)] == [None, None, "dark"]


def test_rotated_requests_are_forgotten_with_their_answers(directory):
    size = len(line("a"))
    for name in "abcd":
        write(directory, line(name), max_file_bytes=size, max_files=3)
        add(directory, name, 0, Feedback(5.0, label="dark"))
    with pytest.raises(RequestNotFound):
        find(directory, "a", None)
    assert read(directory) == [(name, 0, "dark") for name in "bcd"]
    with sqlite3.connect(directory.ids) as database:
        assert database.execute("SELECT count(*) FROM ids").fetchone() == (3,)


def test_a_torn_line_is_not_found_and_the_next_one_is(directory):
    write(directory, line("a"))
    with directory.segment(1).path.open("ab") as file:
        file.write(line("torn")[:50])
    assert find(directory, "a", None)
    write(directory, line("b"))
    assert find(directory, "b", None).offset == len(line("a")) + 51
    with pytest.raises(RequestNotFound):
        find(directory, "torn", None)


@pytest.mark.parametrize("damage", [b"", b"no database" * 100, None])
def test_an_index_that_is_lost_or_damaged_is_made_again(directory, damage):
    write(directory, line("a"), line("b"))
    add(directory, "a", 0, Feedback(5.0, label="dark"))
    directory.ids.unlink()
    if damage is not None:
        directory.ids.write_bytes(damage)
    assert find(directory, "b", None)
    with pytest.raises(AlreadyKnown):
        add(directory, "a", 0, Feedback(5.0, label="dark"))


def test_an_index_with_damaged_pages_is_made_again_at_the_latest_for_the_next_request(directory):
    write(directory, *(line(str(number)) for number in range(200)), max_file_bytes=10**6)
    assert find(directory, "7", None)
    size = directory.ids.stat().st_size
    with directory.ids.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with suppress(OSError):
        find(directory, "7", None)
    assert find(directory, "7", None)


def test_a_file_that_another_of_the_same_name_replaces_is_read_again(directory):
    write(directory, line("a"), line("b"))
    assert find(directory, "b", None)
    directory.segment(1).path.unlink()
    write(directory, line("c"))
    assert find(directory, "c", None)
    with pytest.raises(RequestNotFound):
        find(directory, "b", None)


def test_many_lines_are_read_in_steps_between_which_others_get_the_lock(directory, monkeypatch):
    monkeypatch.setattr(index, "MOST_READ_BYTES", 1000)
    write(directory, *(line(str(number)) for number in range(50)), max_file_bytes=3000, max_files=50)
    with directory.locked(), index.opened(directory) as first:
        assert not first.is_complete
    assert find(directory, "49", None)
    for number in range(50):
        assert find(directory, str(number), None)


def test_a_deleted_request_is_gone_from_every_file_and_no_other_moves(directory):
    write(directory, line("a"), line("secret", 0, 2), line("secret", 1, 2), line("b"), line("secret"))
    add(directory, "secret", 0, Feedback(5.0, label="dark"))
    add(directory, "b", 0, Feedback(5.0, label="bright"))
    sizes = [path.stat().st_size for path in directory.segment(1)[1:]]
    assert delete(directory, "secret") == 3
    assert delete(directory, "secret") == 0
    assert read(directory) == [("a", 0, None), ("b", 0, "bright")]
    assert [path.stat().st_size for path in directory.segment(1)[1:]] == sizes
    assert not any(b"secret" in path.read_bytes() for path in directory.path.iterdir() if path.is_file())
    with pytest.raises(RequestNotFound):
        find(directory, "secret", None)
    with pytest.raises(AlreadyKnown):
        add(directory, "b", 0, Feedback(6.0, label="dark"))
    write(directory, line("c"))
    assert find(directory, "c", None)


def test_nothing_is_deleted_where_nothing_is_recorded(directory):
    assert delete(directory, "a") == 0
    assert not directory.path.exists()
