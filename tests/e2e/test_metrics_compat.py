"""Metrics under the names of Triton and TensorFlow Serving: the same figures, in their units."""

import re
import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from app.telemetry.compat import TFS, TRITON, TRITON_GPU
from app.telemetry.counts import SECONDS
from tests.support.gpus import WITH_GPUS
from tests.support.http_requests import image
from tests.support.service import ROOT, Service, sample, wait_until
from tests.support.tiny_models import write_brightness_model

TFS_PATH = "/monitoring/prometheus/metrics"
INFER = "/v2/models/brightness/infer"


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two workers"])
def service(request, tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for version in (1, 2):
        write_brightness_model(models, version=version)
    (models / "brightness/serving.json").write_text('{"version_policy": {"all": true}}')
    flags = ("--workers", request.param, "--metrics-compat", "triton, tfs")
    service = Service(models, *flags, environment=WITH_GPUS)
    wait_until(lambda: service.client.get("/v2/models/brightness/versions/1/ready").status_code == 200)
    for version in (1, 1, 2):
        service.client.post(f"/v2/models/brightness/versions/{version}/infer", json=image()).raise_for_status()
    assert service.client.post("/v2/models/brightness/versions/1/infer", json={}).status_code == 400
    wait_until(lambda: sample(service.client, "atelier_requests_total", code="400"))
    yield service
    assert service.stop() == 0


def scraped(service, path="/metrics"):
    """A function from the name and some labels of samples to the sum of their values."""
    families = text_string_to_metric_families(service.client.get(path).text)
    samples = [sample for family in families for sample in family.samples]

    def total(name, **labels):
        found = [each.value for each in samples if each.name == name and labels.items() <= each.labels.items()]
        assert found, name
        return sum(found)

    return total


def test_triton_counts_by_version(service):
    total = scraped(service)
    first = {"model": "brightness", "version": "1"}
    assert total("nv_inference_request_success", **first) == 2
    assert total("nv_inference_request_success", model="brightness", version="2") == 1
    assert total("nv_inference_request_failure", **first) == 1
    assert total("nv_inference_count", **first) == total("atelier_batch_rows_sum", **first) == 2
    assert total("nv_inference_exec_count", **first) == total("atelier_batch_rows_count", **first) == 2
    assert total("nv_inference_pending_request_count", **first) == 0
    for theirs, ours in (
        ("request", total("atelier_request_seconds_sum", **first)),
        ("queue", total("atelier_stage_seconds_sum", stage="queue", **first)),
    ):
        assert total(f"nv_inference_{theirs}_duration_us", **first) == pytest.approx(1e6 * ours)
    parts = sum(total(f"nv_inference_compute_{each}_duration_us", **first) for each in ("input", "infer", "output"))
    assert parts == pytest.approx(1e6 * total("atelier_batch_seconds_sum", **first))


def test_tensorflow_serving_counts_by_model(service):
    total = scraped(service)
    model = {"model_name": "brightness"}
    assert total(":tensorflow:serving:request_count", status="OK", **model) == 3
    assert total(":tensorflow:serving:request_count", status="INVALID_ARGUMENT", **model) == 1
    assert total(":tensorflow:serving:request_latency_count", **model) == 4
    assert total(":tensorflow:serving:request_latency_sum", **model) == pytest.approx(
        1e6 * total("atelier_request_seconds_sum")
    )
    assert total(":tensorflow:serving:runtime_latency_count", **model) == 3
    assert total(":tensorflow:core:graph_runs") == 3
    assert total(":tensorflow:cc:saved_model:load_attempt_count", model_path="brightness", status="success") >= 2
    bounds = re.findall(
        r'^:tensorflow:serving:request_latency_bucket\{le="(.+?)"', service.client.get("/metrics").text, re.M
    )
    assert [float(each) for each in bounds] == pytest.approx([*(1e6 * each for each in SECONDS), float("inf")])


def test_the_path_of_tensorflow_serving_has_them_too(service):
    assert scraped(service, TFS_PATH)(":tensorflow:core:graph_runs") == 3


def test_gpus_have_their_names_of_triton(service):
    total = scraped(service)
    assert total("nv_gpu_power_usage") == total("atelier_gpu_power_watts")
    assert total("nv_gpu_memory_total_bytes") == total("atelier_gpu_memory_total_bytes")
    assert re.search(r'^nv_gpu_utilization\{gpu_uuid="GPU-.+"\} 0', service.client.get("/metrics").text, re.M)


def test_both_formats_can_be_read(service):
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    names = {each.name for each in openmetrics_families(service.client.get("/metrics", headers=accept).text)}
    assert {each.name for each in TRITON} | set(TFS) | set(TRITON_GPU.values()) <= names


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian package prometheus)")
def test_promtool_reads_them(service):
    text = service.client.get("/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert "error while linting" not in done.stderr


def test_without_the_option_there_is_none_of_them(start, tmp_path):
    write_brightness_model(tmp_path)
    service = start(tmp_path)
    service.client.post(INFER, json=image()).raise_for_status()
    assert "nv_" not in service.client.get("/metrics").text
    assert service.client.get(TFS_PATH).status_code == 404


def test_the_document_has_the_table_of_the_code():
    text = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8").partition("## Names of other servers")[2]
    rows = dict(re.findall(r"^\| `([\w:]+)` \| (.+) \|$", text, re.M))
    assert rows == {each.name: each.here for each in TRITON} | TFS
    (gpus,) = re.findall(r"^\| (`nv_gpu_.+?) \|", text, re.M)
    assert set(re.findall(r"\w+", gpus)) == set(TRITON_GPU.values())
