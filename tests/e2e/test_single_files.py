"""A single file NAME.onnx in the models directory is the model NAME, version 1."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.support.bare_models import write_graph
from tests.support.model_state import reason
from tests.support.service import ROOT, wait_until
from tests.support.tiny_models import write_brightness_model


@pytest.fixture
def models(empty_models):
    return empty_models


def graph(tmp_path, slope):
    """The bytes of a graph y = slope * x."""
    path = tmp_path / f"graph-{slope}" / "1" / "model.onnx"
    if path.exists():
        return path.read_bytes()
    write_graph(
        tmp_path,
        f"graph-{slope}",
        [helper.make_node("Mul", ["x", "slope"], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", 1])],
        [("y", TensorProto.FLOAT, ["rows", 1])],
        {"slope": np.float32(slope)},
    )
    return path.read_bytes()


def ask(service, name="line", version=""):
    reply = service.client.post(f"/v1/models/{name}{version}:predict", json={"instances": [[1]]})
    return reply.json().get("predictions", reply.status_code)


def test_the_file_serves_next_to_versions(models, tmp_path, start):
    (models / "line.onnx").write_bytes(graph(tmp_path, 2))
    write_brightness_model(models)
    service = start(models)
    assert ask(service) == ask(service, version="/versions/1") == [[2]]
    assert reason(service, "line") == (
        "READY",
        "unverified: it has no golden samples; its batches agree with single instances",
    )
    assert reason(service, "brightness") == ("READY", "")
    assert sorted(service.client.get("/v1/models").json()["models"]) == ["brightness", "line"]
    assert sorted(path.name for path in models.iterdir()) == ["brightness", "line.onnx"]


def test_a_replaced_file_is_followed(models, tmp_path, start):
    file = models / "line.onnx"
    file.write_bytes(graph(tmp_path, 2))
    service = start(models)
    assert ask(service) == [[2]]
    (models / ".new").write_bytes(graph(tmp_path, 3))
    (models / ".new").rename(file)
    wait_until(lambda: ask(service) == [[3]])
    file.write_bytes(b"not a graph")
    service.wait_for_log("ONNX Runtime cannot load the graph")
    assert ask(service) == [[3]]
    file.write_bytes(graph(tmp_path, 4))
    wait_until(lambda: ask(service) == [[4]])


def test_a_new_file_is_followed_once_it_is_complete(models, tmp_path, start):
    write_brightness_model(models)
    service = start(models)
    data = graph(tmp_path, 2)
    with (models / "line.onnx").open("wb", buffering=0) as file:
        file.write(data[:60])
        service.wait_for_log("model line version 1 refused")
        file.write(data[60:])
    wait_until(lambda: ask(service) == [[2]])


def test_next_to_a_directory_of_that_name_the_directory_counts(models, tmp_path, start):
    (models / "brightness.onnx").write_bytes(graph(tmp_path, 2))
    write_brightness_model(models)
    service = start(models)
    assert reason(service, "brightness") == ("READY", "")
    service.wait_for_log("model brightness: the directory brightness counts, and the file brightness.onnx does not")
    assert service.log.count("the directory brightness counts") == 1


def test_only_a_regular_file_is_a_model(models, tmp_path, start):
    os.mkfifo(models / "fifo.onnx")
    (models / "directory.onnx").mkdir()
    (models / "gone.onnx").symlink_to("nowhere")
    (models / ".hidden.onnx").write_bytes(graph(tmp_path, 2))
    (models / ".onnx").write_bytes(graph(tmp_path, 2))
    write_brightness_model(models)
    assert start(models).client.get("/v1/models").json() == {"models": ["brightness"]}


def test_a_file_that_cannot_be_served_harms_no_other(models, tmp_path, start):
    (models / "line.onnx").write_bytes(graph(tmp_path, 2))
    (models / "broken.onnx").write_bytes(b"not a graph")
    (models / "huge.onnx").touch()
    os.truncate(models / "huge.onnx", 3 * 2**30)
    (models / "no name!.onnx").write_bytes(graph(tmp_path, 2))
    service = start(models)
    assert ask(service) == [[2]]
    assert "ONNX Runtime cannot load the graph" in reason(service, "broken")[1]
    assert "huge.onnx has 3221225472 bytes; a graph has at most" in reason(service, "huge")[1]
    assert "no model can be called 'no name!': a name has ASCII letters" in reason(service, "no name!")[1]


def test_it_has_one_version_and_no_settings(models, tmp_path, start):
    (models / "line.onnx").write_bytes(graph(tmp_path, 2))
    service = start(models)
    reply = service.client.post("/v2/repository/models/line/promote", json={"version": 1})
    assert reply.status_code == 500
    assert "serving.json of model 'line' cannot be written" in reply.json()["error"]
    assert not (models / "line").exists()
    assert ask(service) == [[2]]


def test_a_file_becomes_a_directory_with_versions(models, tmp_path, start):
    file = models / "line.onnx"
    file.write_bytes(graph(tmp_path, 2))
    service = start(models)
    shutil.copytree(tmp_path / "graph-2", tmp_path / "line")
    shutil.copytree(tmp_path / "graph-2" / "1", tmp_path / "line" / "2")
    (tmp_path / "line").rename(models / "line")
    wait_until(lambda: ask(service, version="/versions/2") == [[2]])


def test_the_list_of_models_names_the_file(models, tmp_path):
    (models / "line.onnx").write_bytes(graph(tmp_path, 2))
    command = [sys.executable, "-m", "app", "models", "--models-dir", str(models)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "what line.onnx says; it brings no golden samples" in done.stdout
