"""Files of labels that config.pbtxt names."""

import pytest

from app.errors import VersionRefused
from app.repository.triton import config_pb2 as pb
from app.repository.triton.settings import stated_signature


def labels(directory, content):
    (directory / "labels.txt").write_bytes(content)
    output = pb.ModelOutput(name="y", data_type=pb.TYPE_FP32, dims=[3], label_filename="labels.txt")
    return stated_signature(pb.ModelConfig(output=[output]), directory).labels


@pytest.mark.parametrize("content", ["low\nmiddle\nhigh", "low\nmiddle\nhigh\n", "low\r\nmiddle\r\nhigh\r\n\r\n\n"])
def test_each_line_is_a_label(tmp_path, content):
    assert labels(tmp_path, content.encode()) == ("y", ("low", "middle", "high"))


def test_only_the_end_of_a_line_ends_a_label(tmp_path):
    """As in Triton: other separators of Unicode would give the labels behind them to other classes."""
    found = labels(tmp_path, "a\u2028b\nc\x85d\ne\x0cf\n".encode())
    assert found == ("y", ("a\u2028b", "c\x85d", "e\x0cf"))


def test_an_empty_line_between_labels_is_refused(tmp_path):
    """In Triton its class has no label; without the line the labels after it would belong to other classes."""
    with pytest.raises(VersionRefused, match=r"labels\.txt: line 2 is empty; each line is one label"):
        labels(tmp_path, b"low\n\nhigh\nextra\n")
