"""The dashboards: every expression gives series in a real Prometheus that scrapes a real service under load."""

import json
import shutil
import threading
import time

import pytest

from deploy.grafana.generate import DASHBOARDS, DIRECTORY, dashboard
from tests.deploy.prometheus import prometheus, query
from tests.support.gpus import WITH_GPUS
from tests.support.service import Service, wait_until
from tests.support.tiny_models import SIDE, write_brightness_model

VARIABLES = {"$instance": ".*", "$model": ".*", "$__rate_interval": "10s"}
EXPRESSIONS = {
    (name, panel["title"], target["expr"])
    for name in DASHBOARDS
    for panel in dashboard(name)["panels"]
    for target in panel["targets"]
}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_files_are_what_is_generated(name):
    assert json.loads((DIRECTORY / f"{name}.json").read_text()) == dashboard(name)


def test_the_charts_do_not_overlap():
    for name in DASHBOARDS:
        places = [tuple(panel["gridPos"].values()) for panel in dashboard(name)["panels"]]
        assert len(set(places)) == len(places)
        assert len({panel["id"] for panel in dashboard(name)["panels"]}) == len(places)


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed (Debian package prometheus)")
def test_every_expression_gives_series(tmp_path):
    models = tmp_path / "models"
    for version in (1, 2):
        write_brightness_model(models, version=version, bias=version)
    policy = {
        "version_labels": {"stable": 1, "canary": 2},
        "rollout": {"canary": {"percent": 20}, "shadow": {"percent": 100}},
        "recording": {"sample": 1.0},
    }
    (models / "brightness" / "serving.json").write_text(json.dumps(policy))
    state = {"ATELIER_STATE_DIR": str(tmp_path / "state")}
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
                    text = expression
                    for variable, value in VARIABLES.items():
                        text = text.replace(variable, value)
                    if query(port, text):
                        del missing[name, title, expression]
            assert not missing
            wait_until(lambda: query(port, "model:atelier_requests:rate5m"))
            write_brightness_model(models, version=3)
            (models / "brightness/3/model.onnx").write_bytes(b"no graph")
            fires = 'ALERTS{alertname="AtelierLoadRefused", alertstate="firing", model="brightness"}'
            wait_until(lambda: query(port, fires))
    finally:
        stop.set()
        load.join()
        assert service.stop() == 0
