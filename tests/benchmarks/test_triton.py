"""The command with which an installed Triton is measured, and what is said where there is none."""

import re

import pytest

from app.repository.triton.config_pb2 import ModelConfig
from benchmarks.serving.errors import Unavailable
from benchmarks.serving.triton import triton_command


def test_without_an_installation_the_reason_is_said(tmp_path):
    with pytest.raises(Unavailable, match="no installed Triton was given: --triton PATH"):
        triton_command(None, model=tmp_path, work=tmp_path, port=1)
    with pytest.raises(Unavailable, match=re.escape("bin/tritonserver does not exist")):
        triton_command(tmp_path, model=tmp_path, work=tmp_path, port=1)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/tritonserver").touch()
    with pytest.raises(Unavailable, match="backends/onnxruntime does not exist"):  # as that of PyTriton
        triton_command(tmp_path, model=tmp_path, work=tmp_path, port=1)


def test_its_repository_has_the_model_and_one_thread_each(tmp_path):
    from google.protobuf import text_format

    for name in ("bin", "backends/onnxruntime"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bin/tritonserver").touch()
    (tmp_path / "model.onnx").write_bytes(b"a graph")
    command = triton_command(tmp_path, model=tmp_path / "model.onnx", work=tmp_path / "work", port=8000)
    options = dict(each.split("=") for each in command[1:])
    assert command[0] == str(tmp_path / "bin/tritonserver")
    assert options["--http-port"] == "8000"
    repository = tmp_path / "work/triton"
    assert options["--model-repository"] == str(repository)
    assert (repository / "peer/1/model.onnx").read_bytes() == b"a graph"
    stated = text_format.Parse((repository / "peer/config.pbtxt").read_text(), ModelConfig())
    assert (stated.backend, stated.max_batch_size) == ("onnxruntime", 256)
    assert stated.parameters["intra_op_thread_count"].string_value == "1"
