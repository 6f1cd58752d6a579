"""A real Prometheus with our configuration scrapes a real service."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from tests.support.service import ROOT, Service

CONFIGURATION = ROOT / "deploy/prometheus/prometheus.yml"

pytestmark = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="prometheus is not installed (Debian package prometheus)"
)


def query(port, expression):
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(url) as reply:
            return json.load(reply)["data"]["result"]
    except urllib.error.HTTPError as error:
        error.close()
        return []
    except OSError:
        return []


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
    configuration = tmp_path / "prometheus.yml"
    text = CONFIGURATION.read_text().replace("127.0.0.1:8000", service.url.removeprefix("http://"))
    assert service.url.removeprefix("http://") in text
    configuration.write_text(text.replace("5s", "1s"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as prometheus:
        try:
            deadline = time.monotonic() + 60
            while not (found := query(port, 'atelier_requests_total{model="words",code="200"}')):
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)
            assert found[0]["value"][1] == "3"
            assert query(port, "up{job='atelier'}")[0]["value"][1] == "1"
        finally:
            prometheus.terminate()
    assert service.stop() == 0
