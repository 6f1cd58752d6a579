"""A service runs SavedModels with TensorFlow if configured, and changes the backend without losing a request."""

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from app.contract.golden import Golden
from app.contract.manifest import write_manifest
from tests.support.processes import is_running, saved_model_processes
from tests.support.service import ROOT, Service, wait_until
from tests.support.tiny_models import write_brightness_model

TEXTS, IMAGES = "gym-schedule-rnn", "fashion-mnist-mlp"
ONNX, SAVED_MODEL = "onnxruntime_onnx", "tensorflow_savedmodel"


@pytest.fixture
def models(tmp_path):
    for name in (TEXTS, IMAGES):
        shutil.copytree(ROOT / "models" / name, tmp_path / name)
    return tmp_path


def ask_for(models, name, backend):
    """Write serving.json as an editor does: a new file replaces the old one."""
    path = models / name / "serving.json"
    path.with_name(".new").write_text(f'{{"backend": "{backend}"}}')
    path.with_name(".new").rename(path)


def platform(service, name):
    return service.client.get(f"/v2/models/{name}").json().get("platform")


def labels(service, name):
    """The best label of every raw golden sample."""
    samples = Golden.read(ROOT / "models" / name / "1").raw
    replies = [service.client.post(f"/v1/models/{name}:classify", content=each.data).json() for each in samples]
    return [reply["results"][0][0][0] for reply in replies], [each.label for each in samples]


@contextmanager
def under_load(service, name):
    """Two clients send requests continuously; yields the list of (status code, best label) of their answers."""
    sample = Golden.read(ROOT / "models" / name / "1").raw[0]
    answers, done = [], threading.Event()

    def ask():
        with httpx.Client(base_url=service.url, timeout=30) as own:
            while not done.is_set():
                reply = own.post(f"/v1/models/{name}:classify", content=sample.data)
                answers.append(
                    (reply.status_code, reply.json()["results"][0][0][0] if reply.is_success else reply.text)
                )
                time.sleep(0.005)  # yields the processor to the load

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(answers) > 8)
        yield answers
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_serving_json_changes_the_backend_and_no_request_is_lost(models):
    service = Service(models)
    try:
        assert platform(service, TEXTS) == ONNX
        by_onnx, expected = labels(service, TEXTS)
        assert by_onnx == expected
        with under_load(service, TEXTS) as answers:
            ask_for(models, TEXTS, "savedmodel")
            wait_until(lambda: platform(service, TEXTS) == SAVED_MODEL)
            [worker] = saved_model_processes(service.process.pid)
            assert labels(service, TEXTS)[0] == expected
            ask_for(models, TEXTS, "onnx")
            wait_until(lambda: platform(service, TEXTS) == ONNX)
            wait_until(lambda: not is_running(worker))
            after = len(answers)
            wait_until(lambda: len(answers) > after + 8)
        [label] = {label for _, label in answers}
        assert set(answers) == {(200, label)}
        assert label in expected
        assert platform(service, IMAGES) == ONNX
        assert service.metric("atelier_model_loads_total", model=TEXTS, result="ready") == 3
    finally:
        assert service.stop() == 0


def test_the_service_s_default_is_for_models_that_name_no_backend(models):
    ask_for(models, TEXTS, "onnx")
    service = Service(models, "--backend", "savedmodel")
    try:
        config = service.client.get(f"/v2/models/{IMAGES}/config").json()
        assert (config["platform"], config["backend"]) == (SAVED_MODEL, "tensorflow")
        assert config["default_model_filename"] == "saved_model.pb"
        assert config["parameters"]["execution_provider"]["string_value"] == "TensorFlow"
        assert platform(service, TEXTS) == ONNX
        by_tensorflow, expected = labels(service, IMAGES)
        assert by_tensorflow == expected
        [worker] = saved_model_processes(service.process.pid)
    finally:
        assert service.stop() == 0
    assert not is_running(worker)
    service.wait_for_log("TensorFlow")
    assert "absl" not in service.log


def test_a_version_whose_process_is_stopped_is_replaced(models):
    ask_for(models, TEXTS, "onnx")
    service = Service(models, "--backend", "savedmodel")
    try:
        [stopped] = saved_model_processes(service.process.pid)
        os.kill(stopped, signal.SIGSTOP)
        ask_for(models, IMAGES, "onnx")
        wait_until(lambda: platform(service, IMAGES) == ONNX)
        wait_until(lambda: not is_running(stopped))
    finally:
        assert service.stop() == 0


def test_a_version_with_one_format_is_run_by_its_backend_with_any_default(models):
    (models / TEXTS / "1" / "model.onnx").unlink()
    shutil.rmtree(models / IMAGES / "1" / "variables")
    (models / IMAGES / "1" / "saved_model.pb").unlink()
    for name in (TEXTS, IMAGES):
        write_manifest(models / name / "1")
    for default in ("onnx", "savedmodel"):
        service = Service(models, "--backend", default)
        try:
            assert [platform(service, name) for name in (TEXTS, IMAGES)] == [SAVED_MODEL, ONNX]
            for name in (TEXTS, IMAGES):
                found, expected = labels(service, name)
                assert found == expected
        finally:
            assert service.stop() == 0


def test_only_the_batch_fails_in_which_a_process_hangs(models):
    ask_for(models, TEXTS, "onnx")
    path = models / IMAGES / "serving.json"
    path.write_text('{"backend": "savedmodel", "batching": {"max_execution_ms": 1000, "max_batch_size": 1}}')
    sample = Golden.read(ROOT / "models" / IMAGES / "1").raw[0]
    service = Service(models)

    def ask(_):
        return service.client.post(f"/v1/models/{IMAGES}:classify", content=sample.data).status_code

    try:
        assert ask(0) == 200
        [stopped] = saved_model_processes(service.process.pid)
        os.kill(stopped, signal.SIGSTOP)
        with ThreadPoolExecutor(4) as clients:
            codes = clients.map(ask, range(4))
            while is_running(stopped):
                assert service.client.get(f"/v2/models/{IMAGES}/ready").status_code == 200
                time.sleep(0.02)
            assert sorted(codes) == [200, 200, 200, 500]
        assert service.client.get(f"/v2/models/{IMAGES}/ready").status_code == 200
        assert service.metric("atelier_hung_batches_total", model=IMAGES) == 1
        assert "instances are left" not in service.log
    finally:
        assert service.stop() == 0


def test_without_tensorflow_the_old_version_keeps_serving_and_the_log_names_what_to_install(models, tmp_path):
    stand_in = tmp_path / ".without-tensorflow"
    stand_in.mkdir()
    (stand_in / "tensorflow.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorflow'\")")
    service = Service(models, environment={"PYTHONPATH": str(stand_in)})
    try:
        ask_for(models, IMAGES, "savedmodel")
        reply = service.client.post(f"/v2/repository/models/{IMAGES}/load")
        assert "make serve SAVEDMODEL=1" in reply.json()["error"]
        assert "; version 1 continues to serve" in reply.json()["error"]
        assert platform(service, IMAGES) == ONNX
        assert labels(service, IMAGES)[0] == labels(service, IMAGES)[1]
        wait_until(lambda: saved_model_processes(service.process.pid) == [])
    finally:
        assert service.stop() == 0


def test_a_backend_that_does_not_exist_and_a_version_without_savedmodel_are_refused(tmp_path):
    write_brightness_model(tmp_path)
    write_brightness_model(tmp_path, name="other")
    ask_for(tmp_path, "brightness", "tensorrt")
    ask_for(tmp_path, "other", "savedmodel")
    service = Service(tmp_path, wait_ready=False)
    try:
        wait_until(lambda: "no model version could be loaded" in service.log)
        service.wait_for_log("backend is 'tensorrt': Input should be 'onnx' or 'savedmodel'")
        service.wait_for_log("other/1/saved_model.pb: the file does not exist")
    finally:
        assert service.stop() == 0
