"""A version that becomes one of Atelier's own while it serves, and settings of Triton that come later."""

import shutil
import time

import pytest
from onnx import TensorProto, helper

from app.contract.manifest import write_manifest
from tests.support.bare_models import bare, write_graph
from tests.support.model_state import entry, loads
from tests.support.service import wait_until
from tests.support.tiny_inputs import PIXELS
from tests.support.tiny_models import flip_one_weight, write_brightness_model

LABELLED = """
max_batch_size: 4
input [{ name: "x" data_type: TYPE_FP32 dims: [ 2 ] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" }]
"""


@pytest.fixture
def models(empty_models):
    return empty_models


def is_verified(service, name="brightness"):
    return service.metric("atelier_model_verified", model=name)


def complete(written, directory):
    """Copy the rest of a written version next to its graph, the manifest last."""
    for each in sorted(written.iterdir(), key=lambda path: path.name == "manifest.json"):
        if each.name != "model.onnx":
            shutil.copy(each, directory)


def start_bare(source, models, start, *arguments):
    """A service that serves the graph of a written version, which is returned as well."""
    written = write_brightness_model(source)
    directory = bare(models, written)
    service = start(models, *arguments)
    assert entry(service, 1)["state"] == "READY"
    assert is_verified(service) == 0
    return service, written, directory


@pytest.mark.parametrize("mode", ["auto", "poll"])
def test_a_bare_version_that_gets_a_manifest_is_loaded_again_as_one_of_ours(source, models, start, mode):
    service, written, directory = start_bare(source, models, start, "--watch", mode)
    complete(written, directory)
    wait_until(lambda: is_verified(service) == 1)
    assert entry(service, 1) == {"name": "brightness", "version": "1", "state": "READY"}
    reply = service.client.post("/v1/models/brightness:classify", json={"examples": [{"pixels": PIXELS[0].tolist()}]})
    assert reply.status_code == 200  # it has labels now
    assert loads(service, "ready") == 2


def test_without_watching_a_load_command_loads_it_again(source, models, start):
    service, written, directory = start_bare(source, models, start, "--watch", "off")
    complete(written, directory)
    assert is_verified(service) == 0
    service.client.post("/v2/repository/models/brightness/load").raise_for_status()
    assert is_verified(service) == 1


def test_a_bare_version_serves_on_if_what_its_manifest_promises_is_not_so(source, models, start):
    service, written, directory = start_bare(source, models, start)
    complete(written, directory)
    flip_one_weight(directory, "weights")
    write_manifest(directory)
    wait_until(lambda: "golden row" in entry(service, 1).get("reason", ""))
    assert entry(service, 1)["state"] == "READY"
    assert entry(service, 1)["reason"].endswith("it continues to serve as before")
    assert is_verified(service) == 0
    restarted = start(models, wait_ready=False)
    wait_until(lambda: "brightness version 1 refused" in restarted.log)
    shutil.copy(written / "model.onnx", directory)
    write_manifest(directory)
    for each in (service, restarted):
        wait_until(lambda each=each: is_verified(each) == 1)


def test_one_of_our_versions_without_its_manifest_is_what_a_restart_makes_of_it(source, models, start):
    write_brightness_model(models)
    service = start(models)
    directory = models / "brightness" / "1"
    (directory / "manifest.json").unlink()
    service.wait_for_log("model brightness is gone from the models directory")
    assert is_verified(service) == 1
    for each in directory.iterdir():
        if each.name != "model.onnx":
            each.unlink()
    wait_until(lambda: is_verified(service) == 0)
    assert entry(service, 1)["reason"].startswith("unverified")


def write_copy(models, name="copy"):
    size = ["rows", 2]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    write_graph(models, name, nodes, [("x", TensorProto.FLOAT, size)], [("y", TensorProto.FLOAT, size)])


def config_of(service):
    return service.client.get("/v2/models/copy/config").json()


def labels_of(service):
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 0]}]}
    body["outputs"] = [{"name": "y", "parameters": {"classification": 1}}]
    return service.client.post("/v2/models/copy/infer", json=body).json()["outputs"][0]["data"]


def test_a_config_pbtxt_that_comes_later_is_followed_when_it_is_whole(models, start):
    write_copy(models)
    service = start(models)
    assert config_of(service)["max_batch_size"] > 4
    (models / "copy" / "labels.txt").write_text("first\nsecond\n")
    path = models / "copy" / "config.pbtxt"
    path.write_text("max_batch_size: 2\n")  # valid by itself, as the beginning of a file often is
    time.sleep(0.7)
    path.write_text(LABELLED)
    wait_until(lambda: config_of(service)["max_batch_size"] == 4)
    assert labels_of(service) == ["1.000000:0:first"]
    assert loads(service, "ready", "copy") == 2, "the beginning of the file was not followed"


def test_another_file_of_labels_is_followed(models, start):
    write_copy(models)
    (models / "copy" / "labels.txt").write_text("first\nsecond\n")
    (models / "copy" / "config.pbtxt").write_text(LABELLED)
    service = start(models)
    assert labels_of(service) == ["1.000000:0:first"]
    (models / "copy" / "labels.txt").write_text("other\nsecond\n")
    wait_until(lambda: labels_of(service) == ["1.000000:0:other"])
    (models / "copy" / "notes.txt").write_text("that no field names")
    (models / "copy" / "config.pbtxt").unlink()
    wait_until(lambda: config_of(service)["max_batch_size"] > 4)
    assert loads(service, "ready", "copy") == 3


def test_a_config_pbtxt_that_cannot_be_followed_changes_nothing(models, start):
    write_copy(models)
    service = start(models)
    (models / "copy" / "config.pbtxt").write_text('platform: "pytorch_libtorch"')
    wait_until(lambda: "pytorch_libtorch" in (entry(service, 1, "copy") or {}).get("reason", ""))
    assert entry(service, 1, "copy")["state"] == "READY"
