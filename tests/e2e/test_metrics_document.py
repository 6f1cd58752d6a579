"""docs/reference/metrics.md lists the metrics that a service exposes, and no others."""

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.baselines import write_brightness_baseline
from tests.support.gpus import WITH_GPUS
from tests.support.http_requests import image
from tests.support.service import ROOT, Service, wait_until
from tests.support.tiny_models import write_brightness_model
from tests.support.web_directory import web_directory

# They count what does not happen here, or need more rows.
WITHOUT_SAMPLES = {"atelier_dropped_rows_total", "atelier_recording_dropped_rows_total", "atelier_drift_score"}
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram|summary) \|\s*(.*?)\s*\| (.+) \|$", re.MULTILINE)


def documented():
    """Metric -> its type and labels, as the document has them."""
    rows = ROW.findall((ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8"))
    found = {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}
    assert len(found) == len(rows)
    return found


def exposed(service):
    """Metric -> its type and labels, as a scrape has them; the labels are None where there is no sample."""
    found = {}
    for family in text_string_to_metric_families(service.client.get("/metrics").text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {frozenset(sample.labels) - {"le"} for sample in family.samples}
        assert len(labels) <= 1, name
        found[name] = (family.type, labels.pop() if labels else None)
    return found


@pytest.fixture
def web(tmp_path):
    """A web server with models, since some metrics are of models at a URL."""
    (tmp_path / "models").mkdir()
    with web_directory(tmp_path / "models") as server:
        yield server


def test_the_document_lists_every_metric_with_its_type_and_labels(tmp_path, web):
    models = tmp_path / "models"
    for version in (1, 2):
        directory = write_brightness_model(models, version=version)
        write_brightness_baseline(directory)
        policy = directory.parent / "serving.json"
    policy.write_text(json.dumps({"version_labels": {"stable": 1, "canary": 2}, "rollout": {"shadow": {}}}))
    found = {}
    environment = {**WITH_GPUS, "ATELIER_MIRROR_DIR": str(tmp_path / "mirror")}
    for workers in ("1", "2"):
        service = Service(None, "--models-dir", web.url, "--workers", workers, environment=environment)
        try:
            service.client.post("/v2/models/brightness/infer", json=image()).raise_for_status()
            for last in ("atelier_shadow_copies_total{", "atelier_gpu_power_watts{", "atelier_drift_rows{"):
                wait_until(lambda last=last, service=service: last in service.client.get("/metrics").text)
            found |= exposed(service)
        finally:
            assert service.stop() == 0
    listed = documented()
    assert set(listed) == set(found)
    for name, (kind, labels) in found.items():
        assert listed[name][0] == kind, name
        assert labels in {None, listed[name][1]}, name
    assert {name for name, (_, labels) in found.items() if labels is None} <= WITHOUT_SAMPLES
