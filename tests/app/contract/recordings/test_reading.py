"""Recordings as training reads them: whole lines, with the right answers; never a torn or a deleted one."""

import numpy as np
import pytest

from app.contract.recordings.directory import RecordingDirectory
from app.contract.recordings.instance import Feedback, print_line
from app.contract.recordings.reading import read_recordings
from tests.support.recordings import document, line


@pytest.fixture
def directory(tmp_path):
    directory = RecordingDirectory(tmp_path / "m")
    directory.path.mkdir()
    return directory


def ids(source):
    return [each.request_id for each in read_recordings(source)]


def test_an_instance_has_all_that_its_line_says(directory):
    text = {"t": {"text": "hello"}}
    directory.segment(1).path.write_bytes(line(inputs=text, answer={"label": "dark", "score": 0.75}))
    [found] = read_recordings(directory.path)
    assert (found.request_id, found.instance, found.instances, found.time_s) == ("a", 0, 1, 1000.0)
    assert (found.model, found.version, found.signature, found.protocol) == ("m", 3, "serving_default", "v1:predict")
    assert found.inputs == {"t": "hello"}
    assert found.outputs["y"] == np.float32(0.5)
    assert (found.label, found.score, found.feedback) == ("dark", 0.75, None)


def test_the_files_are_read_in_their_order_and_others_are_not(directory):
    for number in (10, 2, 1):
        directory.segment(number).path.write_bytes(line(str(number)))
    (directory.path / "notes.jsonl").write_bytes(line("no"))
    assert ids(directory.path) == ["1", "2", "10"]


def test_an_answer_belongs_to_one_line_even_if_ids_are_equal(directory):
    segment = directory.segment(1)
    segment.path.write_bytes(line("a") + line("a"))
    answers = [{"offset": len(line("a")), "label": label, "time_s": 2.0} for label in ("first", "second")]
    segment.feedback.write_bytes(b"".join(map(print_line, answers)))
    assert [each.feedback for each in read_recordings(directory.path)] == [None, Feedback(2.0, label="first")]


def test_lines_that_are_torn_deleted_or_something_else_are_left_out(directory):
    segment = directory.segment(1)
    others = b'{"deleted":true}   \n\n[1]\n{"request_id": 1}\n' + print_line(document(inputs=3)) + b"\xff\n"
    segment.path.write_bytes(line("a") + others + line("torn")[:40] + b"\n" + line("b") + line("torn")[:-9])
    segment.feedback.write_bytes(b'{"offset": 0}\n{"offset": 0, "label"')
    assert ids(directory.path) == ["a", "b"]


def test_an_exported_file_has_its_answers_itself(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(line("a", feedback={"value": [1.5], "time_s": 3.0}) + line("b"))
    assert [each.feedback for each in read_recordings(path)] == [Feedback(3.0, value=[1.5]), None]


def test_what_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a directory of recordings nor an exported file"):
        list(read_recordings(tmp_path / "none"))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../etc", ".hidden", "a name", "ä"])
def test_every_name_of_a_model_has_a_directory_of_its_own(tmp_path, name):
    path = RecordingDirectory.of(tmp_path, name).path
    assert path.parent == tmp_path / "recordings"
    assert path.resolve() == path
    assert path != RecordingDirectory.of(tmp_path, f"{name}x").path
