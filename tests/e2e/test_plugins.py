"""Versions that are run by code of an installed package; the package is the example of the documents."""

import json

import numpy as np
import pytest
from onnx import TensorProto, helper
from typer.main import get_command

from app.cli import cli
from tests.support.bare_models import write_graph
from tests.support.commands import run
from tests.support.model_state import reason
from tests.support.plugins import code_of, install
from tests.support.service import Service, running, wait_until

BROKEN = {
    "raises": (
        "class Broken:\n    def __init__(self, directory, threads):\n        raise OSError('no weights')\n",
        "no weights",
    ),
    "no_model": ("def Broken(directory, threads):\n    return 1\n", "no_model:Broken returns no model"),
    "ends": (
        "import os\n\ndef Broken(directory, threads):\n    os._exit(3)\n",
        "process ended while it loaded: exit code 3",
    ),
    "no_type": (
        "class Broken:\n    inputs = {'x': ('money', [None])}\n    outputs = {'y': ('float32', [None])}\n"
        "    def __init__(self, directory, threads):\n        pass\n    def run(self, inputs):\n        return {}\n",
        "input 'x' is a money; tensors of bool",
    ),
}
ODD = """
import os, time
import numpy as np


class Odd:
    inputs = {"x": ("int64", [None])}
    outputs = {"y": ("int64", [None])}

    def __init__(self, directory, threads):
        pass

    def run(self, inputs):
        (x,) = inputs.values()
        if (x == -1).any():
            raise ValueError("minus one is not allowed")
        if (x == -2).any():
            os._exit(7)
        if (x == -3).any():
            time.sleep(600)
        if (x == -4).any():
            return {"z": x}
        if (x == -6).any():
            return {"y": np.array([object()] * len(x))}
        if (x == -5).any():
            return {"y": x.astype("float32")}
        return {"y": x * 2}
"""


@pytest.fixture
def site(tmp_path):
    place = tmp_path / "site"
    place.mkdir()
    return place


@pytest.fixture
def models(empty_models):
    return empty_models


def write_version(models, name, backend, version=1):
    directory = models / name / str(version)
    directory.mkdir(parents=True)
    (directory / "backend.json").write_text(json.dumps({"backend": backend}))
    return directory


def write_best_label(models):
    scores = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    write_graph(
        models,
        "labels",
        [helper.make_node("MatMul", ["x", "scores"], ["y"])],
        [("x", TensorProto.FLOAT, ["batch", 3])],
        [("y", TensorProto.FLOAT, ["batch", 3])],
        {"scores": scores},
    )
    directory = models / "labels" / "1"
    (directory / "model.onnx").rename(directory / "scores.onnx")
    (directory / "labels.txt").write_text("boot bag shirt\n")
    (directory / "backend.json").write_text('{"backend": "best-label"}')
    return directory


def started(start, models, site, *flags, **options):
    return start(models, *flags, environment={"PYTHONPATH": str(site)}, **options)


def predict(service, name, instances):
    reply = service.client.post(f"/v1/models/{name}:predict", json={"instances": instances})
    return reply.json()["predictions"] if reply.is_success else (reply.status_code, reply.json()["error"])


def test_the_example_of_the_document_answers_over_every_protocol(start, models, site):
    write_best_label(models)
    install(site, best_label=("best-label", "BestLabel", code_of("best_label")))
    service = started(start, models, site, "--plugins", "best-label")
    rows = [[0, 1, 0], [0.5, 0, 0], [1, 1, 1]]
    assert predict(service, "labels", rows) == [
        {"label": "bag", "score": 2.0},
        {"label": "boot", "score": 0.5},
        {"label": "shirt", "score": 3.0},
    ]
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0, 1, 0]}]}
    outputs = service.client.post("/v2/models/labels/infer", json=body).json()["outputs"]
    assert [each["data"] for each in outputs] == [["bag"], [2.0]]
    config = service.client.get("/v2/models/labels/config").json()
    assert config["backend"] == "best-label"
    assert reason(service, "labels")[1].startswith("unverified")
    assert service.metric("atelier_model_memory_bytes", model="labels") > 100 * 2**20


def test_without_the_flag_the_version_is_refused_and_the_reason_names_the_flag(start, models, site):
    write_best_label(models)
    install(site, best_label=("best-label", "BestLabel", code_of("best_label")))
    service = started(start, models, site, wait_ready=False)
    service.wait_for_log(
        "model labels version 1 refused",
        also="which is not switched on; --plugins best-label (or ATELIER_PLUGINS) does so",
    )


def test_a_backend_that_no_package_has_is_refused(start, models, site):
    write_version(models, "labels", "nobody")
    service = started(start, models, site, "--plugins", "nobody", wait_ready=False)
    service.wait_for_log("model labels version 1 refused", also="no installed packages have the entry point 'nobody'")


BROKEN_FILES = {
    "no-json": ("{", "Invalid JSON"),
    "empty": ("{}", "backend: Field required"),
    "odd-name": ('{"backend": "a b"}', "backend: String should match pattern"),
    "more": ('{"backend": "odd", "more": 1}', "more: Extra inputs are not permitted"),
    "large": ("[" * 5000, "5000 bytes"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A service with a model for each way to be broken."""
    place = tmp_path_factory.mktemp("broken")
    site, models = place / "site", place / "models"
    site.mkdir()
    install(site, **{name: (name, "Broken", code) for name, (code, _) in BROKEN.items()})
    for name in BROKEN:
        write_version(models, name, name)
    for name, (text, _) in BROKEN_FILES.items():
        (write_version(models, name, "odd") / "backend.json").write_text(text)
    environment = {"PYTHONPATH": str(site)}
    yield from running(
        Service(models, "--plugins", ",".join([*BROKEN, "odd"]), wait_ready=False, environment=environment)
    )


@pytest.mark.parametrize("name", BROKEN)
def test_a_backend_that_cannot_load_refuses_the_version_with_its_reason(broken, name):
    broken.wait_for_log(f"model {name} version 1 refused", also=BROKEN[name][1])


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_backend_file_that_is_not_what_it_must_be_is_refused(broken, name):
    broken.wait_for_log(f"model {name} version 1 refused", also=BROKEN_FILES[name][1])


def test_settings_that_name_another_backend_are_refused(start, models, site):
    write_version(models, "odd", "odd")
    (models / "odd" / "serving.json").write_text('{"backend": "onnx"}')
    install(site, odd=("odd", "Odd", ODD))
    service = started(start, models, site, "--plugins", "odd", wait_ready=False)
    service.wait_for_log(
        "model odd version 1 refused", also="backend is 'onnx' in the settings, and 'odd' in backend.json"
    )


def test_a_batch_that_fails_reports_the_reason_and_the_next_one_is_answered(start, models, site):
    write_version(models, "odd", "odd")
    (models / "odd" / "serving.json").write_text('{"batching": {"max_execution_ms": 1000}}')
    install(site, odd=("odd", "Odd", ODD))
    service = started(start, models, site, "--plugins", "odd")
    assert predict(service, "odd", [1, 2]) == [2, 4]
    assert predict(service, "odd", [-1]) == (500, "odd: minus one is not allowed")
    assert predict(service, "odd", [-4]) == (500, "odd: output 'y' is missing; it returns ['z']")
    assert predict(service, "odd", [-5]) == (
        500,
        "odd: output 'y' is float32 of shape [1]; the signature states int64 of shape [None]",
    )
    assert predict(service, "odd", [-6])[0] == 500
    assert predict(service, "odd", [3]) == [6]
    assert predict(service, "odd", [-2])[0] == 500
    assert predict(service, "odd", [4]) == [8]
    code, error = predict(service, "odd", [-3])
    assert code >= 500
    assert "did not answer a batch" in error
    wait_until(lambda: predict(service, "odd", [5]) == [10])


def test_a_new_version_is_followed(start, models, site):
    write_version(models, "odd", "odd")
    install(site, odd=("odd", "Odd", ODD))
    service = started(start, models, site, "--plugins", "odd")
    write_version(models, "odd", "odd", 2)
    wait_until(lambda: service.client.get("/v2/models/odd/versions/2/ready").status_code == 200)
    assert predict(service, "odd", [1]) == [2]


def test_commands_that_load_a_model_have_the_flag_of_serve(models, site, tmp_path):
    write_version(models, "odd", "odd")
    install(site, odd=("odd", "Odd", ODD))
    place = ("verify", "odd", "--models-dir", models)
    variables = {"PYTHONPATH": str(site), "ATELIER_STATE_DIR": str(tmp_path / "state")}
    done = run(*place, **variables)
    assert "--plugins odd (or ATELIER_PLUGINS) does so" in done.stderr
    done = run(*place, "--plugins", "odd", **variables)
    assert done.stdout.startswith("odd version 1 is verified: "), done.stderr
    commands = get_command(cli).commands
    having = {name for name, command in commands.items() if "plugins" in {each.name for each in command.params}}
    assert having == {"serve", "predict", "score", "verify", "autotune"}
