"""A real Prometheus with our configuration scrapes a real service."""

import shutil
import subprocess
import time

import pytest

from tests.deploy.prometheus import CONFIGURATION, exemplars, prometheus, query
from tests.support.service import Service, wait_until

pytestmark = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not installed (Debian package prometheus)"
)


def test_the_configuration_is_valid():
    command = ["promtool", "check", "config", str(CONFIGURATION)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_exposition_has_no_fault_that_promtool_knows(tiny):
    text = tiny.get("/metrics").text
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    complaints = [line for line in result.stderr.splitlines() if line.startswith("atelier_")]
    assert not complaints


def test_a_scrape_brings_our_counters(tiny_models, tmp_path):
    service = Service(tiny_models)
    for _ in range(3):
        service.client.post("/v1/models/words:classify", content=b"a good film")
    with prometheus(tmp_path, service) as port:
        deadline = time.monotonic() + 60
        while not (found := query(port, 'atelier_requests_total{model="words",code="200"}')):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.2)
        assert found[0]["value"][1] == "3"
        assert query(port, "up{job='atelier'}")[0]["value"][1] == "1"
    assert service.stop() == 0


def test_a_scrape_brings_the_ids_of_traces(tiny_models, tmp_path):
    service = Service(tiny_models)
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    service.client.post("/v1/models/words:classify", content=b"a good film", headers=headers)
    with prometheus(tmp_path, service, flags=["--enable-feature=exemplar-storage"]) as port:
        wait_until(lambda: exemplars(port, "atelier_request_seconds_bucket"), within_s=60)
        found = exemplars(port, "atelier_request_seconds_bucket")
    assert {each["labels"]["trace_id"] for each in found} == {trace_id}
    assert service.stop() == 0
