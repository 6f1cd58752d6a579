"""GET routes: health, status, metadata, metrics, documentation."""

import re

import pytest

from app.api.reply_schemas import SCHEMAS
from tests.support.gpus import WITHOUT_GPUS
from tests.support.service import Service, sample, wait_until
from tests.support.tiny_models import write_brightness_model, write_words_model


def test_live_and_ready(tiny):
    assert tiny.get("/v2/health/live").json() == {"live": True}
    assert tiny.get("/v2/health/ready").json() == {"ready": True}


def test_the_list_of_models(tiny):
    assert tiny.get("/v1/models").json() == {"models": ["brightness", "fragile", "words"]}


def test_status_as_tensorflow_serving_prints_it(tiny):
    want = {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert tiny.get("/v1/models/words").json() == {"name": "words", "ready": True, **want}  # ready is KServe's
    assert tiny.get("/v1/models/words/versions/1").json() == want


def test_the_status_of_a_missing_model_is_404(tiny):
    assert tiny.get("/v1/models/nope").status_code == 404
    reply = tiny.get("/v1/models/words/versions/9")
    assert (reply.status_code, reply.json()) == (
        404,
        {"error": "Could not find version 9 of model words; known versions: 1"},
    )


def test_metadata_has_the_doubled_signature_def_and_sizes_as_strings(tiny):
    document = tiny.get("/v1/models/words/metadata").json()
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["token_ids"]["dtype"] == "DT_INT32"
    sizes = [dim["size"] for dim in signature["inputs"]["token_ids"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "-1"]
    assert tiny.get("/v1/models/words/versions/1/metadata").json() == document


def series(text, model):
    return [line for line in text.splitlines() if f'model="{model}"' in line]


def test_a_version_in_use_has_at_most_60_series_and_more_on_request(tmp_path):
    write_brightness_model(tmp_path)
    found = {}
    for histograms in ("requests", "all"):
        service = Service(tmp_path, environment={"ATELIER_METRICS_HISTOGRAMS": histograms})
        service.client.post("/v1/models/brightness:predict", json={"instances": [[[1] * 4] * 4] * 20})
        reply = service.client.get("/metrics")  # the client accepts gzip
        assert reply.headers["content-encoding"] == "gzip"
        assert service.client.get("/metrics", headers={"Accept-Encoding": "identity"}).text.count("\n") > 100
        found[histograms] = series(reply.text, "brightness")
        assert sample(service.client, "atelier_batch_rows_sum", model="brightness") == 20
        assert service.stop() == 0
    assert len(found["requests"]) <= 60
    assert len(found["all"]) > 140
    assert not any(line.startswith("atelier_stage_seconds_bucket") for line in found["requests"])
    names = {line.partition("{")[0] for line in found["requests"]}
    assert names < {line.partition("{")[0] for line in found["all"]}


def test_requests_batches_and_rows_are_counted(tiny_models):
    service = Service(tiny_models)
    for _ in range(3):
        service.client.post("/v1/models/words:classify", content=b"a good film")
    service.client.post("/v1/models/words:predict", json={"instances": [[9]]})
    service.client.post("/v1/models/nope:predict", json={})
    service.client.post("/v1/models/words/versions/x:predict", json={})
    service.client.post("/v1/models/brightness:predict", json={"instances": [[[1] * 4] * 4] * 20})
    words = {"model": "words", "version": "1"}
    count = "atelier_requests_total"
    assert sample(service.client, count, **words, protocol="v1:classify", code="200") == 3
    assert sample(service.client, count, **words, protocol="v1:predict", code="400") == 1
    assert sample(service.client, count, model="", protocol="v1:predict", code="404") == 1
    assert sample(service.client, count, model="", protocol="v1:predict", code="400") == 1
    assert sample(service.client, "atelier_batch_rows_sum", model="brightness") == 20
    assert sample(service.client, "atelier_batch_rows_count", model="brightness") == 3
    assert sample(service.client, "atelier_batches_total", model="brightness", reason="full") == 2
    assert sample(service.client, "atelier_stage_seconds_count", **words, stage="compute") == 3
    assert sample(service.client, "atelier_request_seconds_count", **words) == 4
    assert sample(service.client, "atelier_model_state", **words, state="READY") == 1
    assert 0 <= sample(service.client, "atelier_golden_difference", **words) < 1e-5
    assert sample(service.client, "atelier_model_loads_total", model="words", result="ready") == 1
    assert sample(service.client, "atelier_model_load_seconds_total", model="words", result="ready") > 0
    assert sample(service.client, "atelier_queued_rows", **words) == 0
    assert sample(service.client, "atelier_ready") == 1
    assert service.stop() == 0


def test_labels_never_contain_values_invented_by_a_client(tiny):
    tiny.post("/v1/models/made-up-name:predict", json={})
    assert "made-up-name" not in tiny.get("/metrics").text


def test_metrics_in_openmetrics_format_with_that_accept_header(tiny):
    reply = tiny.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")


def test_metric_names_use_base_units(tiny):
    names = set(re.findall(r"^# TYPE (atelier_\w+)", tiny.get("/metrics").text, re.M))
    assert names
    assert not [name for name in names if re.search(r"_(ms|us|milliseconds|kb|mb)$", name)]


def test_the_inference_routes_are_documented_with_examples(tiny):
    paths = tiny.get("/openapi.json").json()["paths"]
    for path in ("/v1/models/{name}:predict", "/v1/models/{name}/versions/{version}:classify"):
        content = paths[path]["post"]["requestBody"]["content"]
        assert content["application/json"]["examples"]
        assert {"image/*", "text/plain", "multipart/form-data", "application/octet-stream"} < content.keys()


def test_the_versions_of_status_routes_are_documented_as_numbers(tiny):
    paths = tiny.get("/openapi.json").json()["paths"]
    parameters = paths["/v1/models/{name}/versions/{version}"]["get"]["parameters"]
    assert [parameter["schema"]["type"] for parameter in parameters] == ["string", "integer"]


def test_an_unknown_path_is_404_in_the_one_error_form(tiny):
    assert tiny.get("/nothing").json() == {"error": "GET /nothing is not a route; GET /docs lists all routes"}


def test_devices_and_which_version_runs_on_which(tiny_models):
    service = Service(tiny_models, "--device", "cpu")
    document = service.client.get("/v2/devices").json()
    assert document["devices"][0]["name"] == "cpu"
    assert document["devices"][0]["used"] is True
    assert document["models"] == [
        {
            "name": name,
            "version": "1",
            "device": "cpu",
            "provider": "CPUExecutionProvider",
            "reason": "device is 'cpu'",
            "degraded": "",
            "faults": 0,
            "hangs": 0,
            "instances": [
                {"device": "cpu", "reason": "device is 'cpu'", "degraded": "", "faults": 0, "hangs": 0},
            ],
        }
        for name in ("brightness", "fragile", "words")
    ]
    assert service.metric("atelier_model_device", model="words", version="1", device="cpu") == 1
    assert service.metric("atelier_model_degraded", model="words", version="1") == 0
    assert service.stop() == 0


NO_GPU = (
    "device is {!r}, which requires a GPU, but no NVIDIA driver reports one; "
    "set device to 'auto' or 'cpu', in serving.json or with --device"
)


def test_a_version_that_requires_a_missing_gpu_is_refused_in_one_sentence(tmp_path):
    write_words_model(tmp_path)
    write_brightness_model(tmp_path)
    (tmp_path / "words/serving.json").write_text('{"device": "cuda:0"}')
    service = Service(tmp_path, "--device", "auto", environment=WITHOUT_GPUS)
    why = NO_GPU.format("cuda:0")
    [status] = service.client.get("/v1/models/words").json()["model_version_status"]
    assert status["state"] != "AVAILABLE"
    assert status["status"]["error_message"] == why
    entry = {"name": "words", "version": "1", "state": "UNAVAILABLE", "reason": why}
    assert entry in service.client.post("/v2/repository/index").json()
    service.wait_for_log(f"model words version 1 refused: {why}\n")
    assert [model["name"] for model in service.client.get("/v2/devices").json()["models"]] == ["brightness"]
    (tmp_path / "words/serving.json").write_text('{"device": "cpu"}')
    assert service.client.post("/v2/repository/models/words/load").status_code == 200
    reasons = {model["name"]: model["reason"] for model in service.client.get("/v2/devices").json()["models"]}
    assert reasons["words"] == "device is 'cpu'"
    assert service.stop() == 0


def test_a_missing_requested_gpu_is_reported_for_every_model(tmp_path):
    write_words_model(tmp_path)
    service = Service(tmp_path, "--device", "cuda", wait_ready=False, environment=WITHOUT_GPUS)
    why = NO_GPU.format("cuda")
    wait_until(lambda: f"no model version could be loaded: words 1: {why}\n" in service.log)
    service.wait_for_log("INFO    no GPU was found; models with device 'auto' run on the CPU\n")
    reply = service.client.post("/v1/models/words:predict", json={"instances": [[1]]})
    assert reply.status_code == 503
    assert why in reply.json()["error"]
    assert service.stop() == 0


def test_a_version_whose_device_changes_in_serving_json_is_loaded_again(tmp_path):
    write_words_model(tmp_path)
    service = Service(tmp_path, "--watch", "off")
    [before] = service.client.get("/v2/devices").json()["models"]
    assert before["reason"].startswith("device is 'auto'")
    (tmp_path / "words/serving.json").write_text('{"device": "cpu"}')
    assert service.client.post("/v2/repository/models/words/load").status_code == 200
    [after] = service.client.get("/v2/devices").json()["models"]
    assert after["reason"] == "device is 'cpu'"
    service.wait_for_log("model words version 1 loaded again on CPUExecutionProvider: its settings have changed")
    assert service.stop() == 0


def test_without_a_gpu_the_log_has_one_line_about_it_and_no_warning(tiny_models):
    service = Service(tiny_models, environment={"CUDA_VISIBLE_DEVICES": ""})
    if len(service.client.get("/v2/devices").json()["devices"]) == 1:
        assert service.log.count("no GPU was found; models with device 'auto' run on the CPU") == 1
        assert "WARNING" not in service.log
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v1/models", "ModelNames"),
        ("/v1/models/words", "ModelStatus"),
        ("/v1/models/words/metadata", "SignatureMetadata"),
        ("/v2", "ServerMetadata"),
        ("/v2/models/words", "ModelMetadata"),
        ("/v2/models/words/ready", "ModelReady"),
        ("/v2/models/words/config", "ModelConfig"),
        ("/v2/models/words/stats", "ModelStatistics"),
        ("/v2/devices", "Devices"),
        ("/v2/repository/models/words", "ModelVersions"),
        ("/v2/systemsharedmemory/status", "SharedMemoryRegions"),
    ],
)
def test_replies_have_the_members_of_their_schemas(tiny, path, schema):
    assert fits(tiny.get(path).json(), SCHEMAS[schema])


def fits(value, schema):
    """Whether a value matches a schema without references."""
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    kind = schema.get("type")
    if isinstance(kind, list):
        return value is None or isinstance(value, int)
    if kind is not None and not isinstance(value, kinds[kind]):
        return False
    if kind == "array":
        return all(fits(each, schema["items"]) for each in value)
    if kind == "object":
        known = schema.get("properties", {})
        others = schema.get("additionalProperties", {})
        return set(schema.get("required", ())) <= value.keys() and all(
            fits(each, known.get(key, others)) for key, each in value.items()
        )
    return True
