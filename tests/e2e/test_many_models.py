"""Models that load with their first request, and models that are unloaded because others need their memory."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc
from onnx import TensorProto, helper

from tests.support.bare_models import write_graph
from tests.support.service import wait_until

MIB = 2**20
FACTORS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}


def write_weighty(models, name, *, version=1, mib=10, factor=None):
    """A version that multiplies by ``factor`` and has ``mib`` MiB of weights: it takes these and a little more."""
    factor = FACTORS.get(name, 1.0) if factor is None else factor
    weights = np.full(mib * MIB // 4, factor, np.float32)
    nodes = [
        helper.make_node("Gather", ["weights", "first"], ["factor"]),
        helper.make_node("Mul", ["x", "factor"], ["y"]),
    ]
    write_graph(
        models,
        name,
        nodes,
        [("x", TensorProto.FLOAT, ["batch", 1])],
        [("y", TensorProto.FLOAT, ["batch", 1])],
        {"weights": weights, "first": np.array([0])},
        version=version,
    )


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    for name in FACTORS:
        write_weighty(directory, name)
    return directory


def predict(service, name, value=1.0, *, version=None):
    path = f"/v1/models/{name}:predict" if version is None else f"/v1/models/{name}/versions/{version}:predict"
    return service.client.post(path, json={"instances": [[value]]})


def answer(service, name, value=1.0):
    reply = predict(service, name, value)
    assert reply.status_code == 200, reply.text
    return reply.json()["predictions"][0][0]


def states(service):
    return {each["name"]: each["state"] for each in service.client.post("/v2/repository/index").json()}


def loaded(service):
    return {name for name, state in states(service).items() if state == "READY"}


def test_a_model_loads_with_its_first_request(models, start):
    service = start(models, "--load-models", "on-request")
    assert loaded(service) == set()
    assert service.client.get("/v2/models/a/ready").status_code == 200
    [entry] = [each for each in service.client.post("/v2/repository/index").json() if each["name"] == "a"]
    assert entry["reason"] == "not loaded; the next inference request loads it"
    assert answer(service, "c", 2) == 6
    assert loaded(service) == {"c"}
    assert service.metric("atelier_model_memory_bytes", model="c") == pytest.approx(10.5 * MIB, abs=0.5 * MIB)


def test_a_question_about_its_inputs_loads_a_model(models, start):
    service = start(models, "--load-models", "on-request")
    paths = {
        "a": "/v2/models/a",
        "b": "/v2/models/b/config",
        "c": "/v1/models/c/metadata",
        "d": "/v2/models/d/versions/1",
    }
    for name, path in paths.items():
        before = loaded(service)
        assert service.client.get(path).status_code == 200
        assert loaded(service) - before == {name}


def test_grpc_requests_load_a_model(models, start):
    service = start(models, "--load-models", "on-request", "--grpc-port", "0")
    port = service.log.split("gRPC listens on 127.0.0.1:")[1].split()[0]
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        assert client.is_model_ready("a")
        assert client.get_model_metadata("a").inputs[0].name == "x"
        tensor = tritonclient.grpc.InferInput("x", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.array([[5]], np.float32))
        assert client.infer("b", [tensor]).as_numpy("y").tolist() == [[10]]
    assert loaded(service) == {"a", "b"}


def test_a_missing_model_is_404_and_loads_no_other(models, start):
    service = start(models, "--load-models", "on-request")
    assert predict(service, "nobody").status_code == 404
    assert service.client.get("/v2/models/a/versions/7/ready").status_code == 404
    assert loaded(service) == set()
    assert predict(service, "a", version=7).status_code == 404


def test_a_model_that_does_not_load_reports_the_reason_and_is_not_retried_with_every_request(models, start):
    (models / "a" / "1" / "model.onnx").write_bytes(b"not a graph")
    service = start(models, "--load-models", "on-request")
    for _ in range(3):
        reply = predict(service, "a")
        assert reply.status_code == 503
        assert "model.onnx" in reply.json()["error"]
    assert service.metric("atelier_model_loads_total", model="a", result="refused") == 1
    assert service.client.get("/v2/models/a/ready").status_code == 503


def test_many_parallel_requests_load_a_model_once(models, start):
    service = start(models, "--load-models", "on-request")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda value: answer(service, "d", value), range(64)))
    assert answers == [4 * value for value in range(64)]
    assert service.metric("atelier_model_loads_total", model="d", result="ready") == 1


def test_the_least_recently_used_models_are_unloaded_for_memory(models, start):
    service = start(models, "--load-models", "on-request", "--model-memory-limit-mb", "24")
    for name in "ab":
        answer(service, name)
    answer(service, "a")
    answer(service, "c")
    assert loaded(service) == {"a", "c"}
    service.wait_for_log("model b is unloaded: model c needs about 11 MiB")
    answer(service, "b")
    assert loaded(service) == {"b", "c"}


def test_a_model_that_does_not_fit_at_the_start_loads_with_its_first_request(models, start):
    service = start(models, "--model-memory-limit-mb", "24")
    assert len(loaded(service)) == 2
    assert [answer(service, name) for name in FACTORS] == list(FACTORS.values())
    assert len(loaded(service)) == 2


def test_requests_to_more_models_than_fit_are_all_answered(models, start):
    service = start(models, "--load-models", "on-request", "--model-memory-limit-mb", "24")
    wrong = []

    def ask(name):
        for value in range(20):
            if (reply := predict(service, name, value)).status_code != 200:
                wrong.append(reply.text)
            elif reply.json()["predictions"][0][0] != FACTORS[name] * value:
                wrong.append(f"{name} {value}: {reply.text}")

    clients = [threading.Thread(target=ask, args=(name,)) for name in FACTORS for _ in range(2)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert wrong == []
    assert service.metric("atelier_model_loads_total", model="a", result="refused") == 0
    assert len(loaded(service)) <= 2


def test_a_model_that_is_larger_than_the_limit_is_refused_by_name(models, start):
    write_weighty(models, "large", mib=28)
    service = start(models, "--load-models", "on-request", "--model-memory-limit-mb", "24")
    answer(service, "a")
    reply = predict(service, "large")
    assert reply.status_code == 503
    assert "takes about 29 MiB; --model-memory-limit-mb allows 24 MiB for all models" in reply.json()["error"]
    assert loaded(service) == {"a"}


def test_a_canary_that_is_compared_keeps_its_model_loaded(models, start):
    write_weighty(models, "a", version=2)
    (models / "a" / "serving.json").write_text(json.dumps({"version_labels": {"stable": 1, "canary": 2}}))
    service = start(models, "--load-models", "on-request", "--model-memory-limit-mb", "24")
    answer(service, "a")
    reply = predict(service, "b")
    assert reply.status_code == 503
    assert "no other model can be unloaded now to stay below 24 MiB (--model-memory-limit-mb)" in reply.json()["error"]
    (models / "a" / "serving.json").unlink()
    wait_until(lambda: predict(service, "b").status_code == 200)


def test_an_unloaded_model_stays_unloaded_until_it_is_loaded(models, start):
    service = start(models, "--load-models", "on-request")
    assert service.client.post("/v2/repository/models/a/unload").status_code == 200
    assert predict(service, "a").status_code == 503
    assert service.client.post("/v2/repository/models/a/load").status_code == 200
    assert answer(service, "a", 3) == 3


def test_a_model_that_sleeps_follows_the_directory(models, start):
    service = start(models, "--load-models", "on-request")
    write_weighty(models, "a", version=2, factor=7)
    wait_until(lambda: service.client.get("/v2/models/a/versions/2/ready").status_code == 200)
    assert loaded(service) == set()
    assert answer(service, "a") == 7
    for file in (models / "b" / "1").iterdir():
        file.unlink()
    (models / "b" / "1").rmdir()
    wait_until(lambda: predict(service, "b").status_code == 404)


def test_a_new_model_is_loaded_with_its_first_request(models, start):
    service = start(models, "--load-models", "on-request")
    write_weighty(models, "e", factor=5)
    wait_until(lambda: "e" in states(service))
    wait_until(lambda: predict(service, "e").status_code == 200)
    assert loaded(service) == {"e"}


def test_workers_load_with_their_first_requests(models, start):
    service = start(models, "--load-models", "on-request", "--model-memory-limit-mb", "24", "--workers", "2")
    for _ in range(4):
        assert [answer(service, name) for name in FACTORS] == list(FACTORS.values())


def test_several_versions_load_at_the_same_time(models, start):
    service = start(models, "--parallel-loads", "4")
    assert loaded(service) == set(FACTORS)
    assert [answer(service, name) for name in FACTORS] == list(FACTORS.values())
