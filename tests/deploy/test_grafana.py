"""The dashboards: every expression gives series in a real Prometheus that scrapes a real service under load."""

import json
import re
import shutil
import threading
import time

import pytest

from deploy.grafana.generate import DASHBOARDS, DIRECTORY, dashboard
from deploy.grafana.picture import draw, filled
from tests.deploy.prometheus import prometheus, query
from tests.support.baselines import write_brightness_baseline
from tests.support.gpus import WITH_GPUS
from tests.support.service import ROOT, Service, wait_until
from tests.support.tiny_models import SIDE, write_brightness_model

EXPRESSIONS = {
    (name, panel["title"], target["expr"])
    for name in DASHBOARDS
    for panel in dashboard(name)["panels"]
    for target in panel["targets"]
}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_files_are_what_is_generated(name):
    assert json.loads((DIRECTORY / f"{name}.json").read_text()) == dashboard(name)


def test_they_are_checked_by_the_types_of_the_grafana_that_compose_starts():
    [image] = re.findall(r"image: grafana/grafana:(\S+)", (ROOT / "deploy/compose.yaml").read_text())
    packages = json.loads((ROOT / "tests/grafana/package.json").read_text())["devDependencies"]
    assert packages["@grafana/schema"] == image


def test_the_charts_do_not_overlap():
    for name in DASHBOARDS:
        places = [tuple(panel["gridPos"].values()) for panel in dashboard(name)["panels"]]
        assert len(set(places)) == len(places)
        assert len({panel["id"] for panel in dashboard(name)["panels"]}) == len(places)


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed (Debian package prometheus)")
def test_every_expression_gives_series(tmp_path):
    models = tmp_path / "models"
    for version in (1, 2):
        write_brightness_baseline(write_brightness_model(models, version=version, bias=version))
    policy = {
        "version_labels": {"stable": 1, "canary": 2},
        "rollout": {"canary": {"percent": 20}, "shadow": {"percent": 100}},
        "recording": {"sample": 1.0},
    }
    (models / "brightness" / "serving.json").write_text(json.dumps(policy))
    state = {"ATELIER_STATE_DIR": str(tmp_path / "state"), "ATELIER_DRIFT_ROWS_PER_S": "1e6"}
    service = Service(models, "--workers", "2", environment={**WITH_GPUS, **state})
    stop = threading.Event()

    def ask():
        while not stop.wait(0.02):
            service.client.post(
                "/v1/models/brightness:predict",
                content=bytes([120]) * SIDE * SIDE,
                headers={"Content-Type": "application/octet-stream"},
            )

    load = threading.Thread(target=ask)
    load.start()
    try:
        with prometheus(tmp_path, service, rules=True) as port:
            missing, deadline = dict.fromkeys(EXPRESSIONS), time.monotonic() + 60
            while missing and time.monotonic() < deadline:
                time.sleep(1)
                for name, title, expression in list(missing):
                    if query(port, filled(expression, "10s")):
                        del missing[name, title, expression]
            assert not missing
            for name in DASHBOARDS:
                series = draw(f"http://127.0.0.1:{port}", name, tmp_path / "it.png", minutes=0.5, interval="10s")
                assert all(series.values())
                assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")
            wait_until(lambda: query(port, "model:atelier_requests:rate5m"))
            write_brightness_model(models, version=3)
            (models / "brightness/3/model.onnx").write_bytes(b"no graph")
            fires = 'ALERTS{alertname="AtelierLoadRefused", alertstate="firing", model="brightness"}'
            wait_until(lambda: query(port, fires))
    finally:
        stop.set()
        load.join()
        assert service.stop() == 0
