import errno

import numpy as np
import pytest

from training.disk import replaced, space_wanted
from training.errors import DiskFull
from training.fit.run_files import Progressed, write_history, write_weights
from training.measure.drawing import figure, save
from training.runs.record import write_json


def test_a_file_is_replaced_when_all_of_it_is_written(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replaced(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_a_file_that_could_not_be_written_is_unchanged_and_no_other_file_is_left(error, tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write():
        with replaced(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("metrics.json", lambda path: write_json(path, {"a": 1})),
        ("best.npz", lambda path: write_weights(path, [np.zeros(3)])),
        ("history.csv", lambda path: write_history(path, [{"epoch": 1}])),
        ("state.json", lambda path: Progressed().write(path.parent)),
        ("curves.png", lambda path: save(figure(), path)),
    ],
)
def test_on_a_full_disk_a_sentence_names_the_file_and_the_remedy(name, write, tmp_path):
    path = tmp_path / name
    (tmp_path / f".{name}").symlink_to("/dev/full")
    with pytest.raises(DiskFull) as refused, space_wanted("a file", "free some space"):
        write(path)
    assert str(refused.value) == f"no space is left for {path}; free some space"
    assert list(tmp_path.iterdir()) == []


def test_tensorflow_s_error_becomes_a_sentence_too(tmp_path):
    import tensorflow as tf

    def write():
        with space_wanted("a log", "free some space"), tf.io.TFRecordWriter("/dev/full") as writer:
            writer.write(b"x" * 100_000)

    with pytest.raises(DiskFull, match=r"^no space is left for a log; free some space$"):
        write()


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no"), ValueError("no"), KeyboardInterrupt()], ids=repr
)
def test_other_errors_are_not_changed(error):
    with pytest.raises(type(error)) as raised, space_wanted("a file", "free some space"):
        raise error
    assert raised.value is error
