"""Texts over which protobuf's parser would spend seconds, in which no other thread runs."""

import time

import pytest

from app.errors import VersionRefused
from app.repository.text_proto import read_text_proto
from app.repository.tf_serving import models_pb2 as pb


def read(tmp_path, name):
    path = tmp_path / "models.config"
    path.write_text(f'model_config_list {{ config {{ name: "{name}" }} }}')
    return read_text_proto(path, pb.ModelServerConfig(), 2**20).model_config_list.config[0].name


def test_many_backslashes_in_a_row_are_refused(tmp_path):
    r"""The time to look for \x among them grows with their square: 0.5 s for 10,000."""
    began = time.process_time()
    with pytest.raises(VersionRefused, match=r"models\.config: it has more than 16 backslashes in a row"):
        read(tmp_path, "\\" * 10_000)
    assert time.process_time() - began < 0.1


def test_few_backslashes_are_read(tmp_path):
    assert read(tmp_path, "\\" * 16) == "\\" * 8
    assert read(tmp_path, r"\x41\\server\\a") == r"A\server\a"
