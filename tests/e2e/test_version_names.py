"""Version 0 and version directories with leading zeros, over every protocol and for the commands."""

import json

import numpy as np
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper

from tests.support.bare_models import write_graph
from tests.support.commands import command
from tests.support.model_state import serving
from tests.support.service import starting, wait_until
from tests.support.tfs_service import TfsService

PADDED = "00000123"


def write_adder(models, directory, number):
    """The number, plus x."""
    write_graph(
        models,
        "adder",
        [helper.make_node("Add", ["x", "number"], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", 1])],
        [("y", TensorProto.FLOAT, ["rows", 1])],
        {"number": np.float32(number)},
        version=directory,
    )


@pytest.fixture
def models(tmp_path):
    models = tmp_path / "models"
    write_adder(models, "0", 1000)
    write_adder(models, PADDED, 123)
    return models


@pytest.fixture
def start():
    yield from starting(TfsService)


def predicted(service, where=""):
    reply = service.client.post(f"/v1/models/adder{where}:predict", json={"instances": [[1.0]]})
    assert reply.status_code == 200, reply.text
    return reply.json()["predictions"][0][0]


def test_every_protocol_answers_by_the_number(models, start):
    (models / "adder" / "serving.json").write_text(json.dumps({"version_policy": {"all": True}}))
    service = start(models)
    assert serving(service, "adder") == ["0", "123"]
    x = np.array([[1]], np.float32)
    given = triton.InferInput("x", [1, 1], "FP32")
    given.set_data_from_numpy(x)
    for version, answer in ((0, 1001), (123, 124)):
        assert predicted(service, f"/versions/{version}") == answer
        document = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}
        reply = service.client.post(f"/v2/models/adder/versions/{version}/infer", json=document).json()
        assert (reply["model_version"], reply["outputs"][0]["data"]) == (str(version), [answer])
        found = service.triton.infer("adder", [given], model_version=str(version))
        assert (found.get_response().model_version, found.as_numpy("y").item()) == (str(version), answer)
        found = service.tfs.predict({"x": x}, "adder", version=version)
        assert (found.model_spec.version.value, list(found.outputs["y"].float_val)) == (version, [answer])
        assert service.client.get(f"/v2/models/adder/versions/{version}/ready").status_code == 200
        stats = service.client.get(f"/v2/models/adder/versions/{version}/stats").json()["model_stats"]
        assert [each["version"] for each in stats] == [str(version)]
        [status] = service.client.get(f"/v1/models/adder/versions/{version}").json()["model_version_status"]
        assert (status["version"], status["state"]) == (str(version), "AVAILABLE")
    assert predicted(service) == 124
    error = service.client.post(f"/v1/models/adder/versions/{PADDED}:predict", json={"instances": [[1.0]]})
    assert error.status_code == 400
    assert "without leading zeros" in error.json()["error"]


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_version_0_is_promoted_and_rolled_back_to(models, start, workers):
    service = start(models, *workers)
    for version, before, answer in ((0, 123, 1001), (123, 0, 124)):
        reply = service.client.post("/v2/repository/models/adder/promote", json={"version": version})
        assert reply.json() == {"name": "adder", "version": version, "before": before}
        assert predicted(service) == answer
    assert predicted(service, "/labels/stable") == 124
    reply = service.client.post("/v2/repository/models/adder/rollback")
    assert reply.json() == {"name": "adder", "version": 0, "before": 123}
    assert predicted(service) == 1001
    policy = json.loads((models / "adder" / "serving.json").read_text())
    assert (policy["version_labels"], policy["promoted"]) == ({"stable": 0}, [123])
    assert service.client.get("/v2/repository/models/adder").json()["serving"] == 0


def test_a_new_version_with_leading_zeros_is_followed(models, start):
    service = start(models)
    write_adder(models, "00000200", 200)
    wait_until(lambda: serving(service, "adder") == ["200"], within_s=30)
    assert predicted(service) == 201


def test_the_commands_take_the_number(models, tmp_path):
    code, said = command("models", models=models)
    assert code == 0
    assert "adder, version 123" in said
    assert "adder, version 0" in said
    rows = tmp_path / "rows.csv"
    rows.write_text("x\n[1]\n")
    for version, answer in (("0", 1001), ("123", 124)):
        output = tmp_path / f"{version}.jsonl"
        code, said = command("score", "adder", rows, "--output", output, "--version", version, models=models)
        assert code == 0, said
        assert json.loads(output.read_text())["y"] == answer
    for version, before in (("0", 123), ("123", 0)):
        code, said = command("promote", "adder", version, models=models)
        assert (code, f"version {version} is stable (previously {before})" in said) == (0, True)
    code, said = command("rollback", "adder", models=models)
    assert (code, "version 0 is stable (previously 123)" in said) == (0, True)


def test_verify_takes_the_stable_version_although_it_is_0(models):
    (models / "adder" / "serving.json").write_text('{"version_labels": {"stable": 0}}')
    code, said = command("verify", "adder", models=models)
    assert (code, "adder version 0 is verified" in said) == (0, True), said
