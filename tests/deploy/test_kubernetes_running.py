"""What the manifests say, done by a real service and a real Prometheus: environment, probes, end, metric of scaling."""

import re
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import yaml

from tests.deploy.kubernetes import MANIFESTS, render, requires_kubectl
from tests.support.commands import run
from tests.support.service import ROOT, Service, sample, wait_until
from tests.support.tiny_models import write_slow_model

IN_IMAGE = dict(re.findall(r"(ATELIER_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
ADAPTER = yaml.safe_load((MANIFESTS / "prometheus-adapter.yaml").read_text())
# Seconds of a stage, every 15 s: a minute without requests, then a minute with 2 and 1 of them in flight in the pod a,
# and 3 in b. Encoding and other namespaces do not count.
SERIES = {
    'namespace="atelier",pod="a",stage="compute"': "0x4 30+30x3",
    'namespace="atelier",pod="a",stage="queue"': "0x4 15+15x3",
    'namespace="atelier",pod="a",stage="encode"': "0x4 150+150x3",
    'namespace="atelier",pod="b",stage="compute"': "0x4 45+45x3",
    'namespace="other",pod="c",stage="compute"': "0x4 600+600x3",
}


@requires_kubectl
def test_a_service_with_the_environment_of_the_manifest_starts_drains_and_ends_within_the_grace_period(
    tiny_models,
):
    rendering = render("cpu")
    [pod] = rendering.pods
    [container] = pod["containers"]
    command, *arguments = container["args"]
    assert command == "serve"
    places = {"ATELIER_MODELS_DIR": str(tiny_models), "ATELIER_HOST": "127.0.0.1", "ATELIER_GRPC_PORT": "0"}
    service = Service(None, *arguments, environment={**IN_IMAGE, **rendering.settings, **places})

    def status(probe):
        return service.client.get(container[probe]["httpGet"]["path"]).status_code

    def answers():
        return service.client.post("/v1/models/words:classify", content=b"a good film").status_code == 200

    assert {status(probe) for probe in ("startupProbe", "livenessProbe", "readinessProbe")} == {200}
    assert answers()
    assert service.client.post("/v2/repository/models/words/unload").status_code == 403
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: status("readinessProbe") == 503)
    assert status("livenessProbe") == 200
    assert answers()
    assert service.process.wait(pod["terminationGracePeriodSeconds"]) == 0
    assert service.stop() == 0


def test_variables_that_kubernetes_makes_of_a_service_would_stop_the_start(tiny_models):
    """The reason for ``enableServiceLinks: false``."""
    links = {"ATELIER_SERVICE_HOST": "10.96.0.1", "ATELIER_PORT": "tcp://10.96.0.1:8000"}
    done = run("serve", "--models-dir", str(tiny_models), **links)
    assert done.returncode == 2
    assert "add enableServiceLinks: false to the pod" in done.stderr


def test_a_service_has_the_series_of_the_autoscalers_before_the_first_request(tiny):
    [rule] = ADAPTER["rules"]
    name = re.match(r"\w+", rule["seriesQuery"])[0]
    stages = re.search(r'stage=~"([\w|]+)"', rule["metricsQuery"])[1].split("|")
    text = tiny.get("/metrics").text
    for stage in stages:
        assert re.search(rf'^{name}{{[^}}]*stage="{stage}"', text, re.MULTILINE)
        assert sample(tiny, name, stage=stage) >= 0


def test_the_metric_of_the_autoscalers_is_at_most_the_number_of_clients(tmp_path):
    """Four clients that never pause have four requests in flight, except while these are read and written."""
    write_slow_model(tmp_path, multiplications=1)
    service = Service(tmp_path)
    clients, stop = 4, threading.Event()

    def ask():
        with httpx.Client(base_url=service.url, timeout=30) as client:
            while not stop.is_set():
                assert client.post("/v1/models/slow:predict", json={"instances": [1]}).status_code == 200

    def stages():
        return sum(service.metric("atelier_stage_seconds_sum", stage=stage) for stage in ("queue", "compute"))

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(ask) for _ in range(clients)]
        wait_until(lambda: service.metric("atelier_batch_rows_sum") >= clients)
        began, before = time.monotonic(), stages()
        wait_until(lambda: service.metric("atelier_batch_rows_sum") >= 30)
        in_flight = (stages() - before) / (time.monotonic() - began)
        stop.set()
        for each in running:
            each.result()
    # A request counts when it is answered: of 30, some began before.
    assert clients / 2 < in_flight < clients + 1
    assert service.stop() == 0


@requires_kubectl
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (Debian package prometheus)")
def test_both_autoscalers_count_the_requests_in_flight(tmp_path):
    [trigger] = render("cpu", "keda").one("ScaledObject")["spec"]["triggers"]
    [rule] = ADAPTER["rules"]
    series = re.match(r"\w+", rule["seriesQuery"])[0]
    per_pod = rule["metricsQuery"]
    given = {"GroupBy": "pod", "Series": series, "LabelMatchers": 'namespace="atelier",pod=~"a|b"'}
    for name, value in given.items():
        assert f"<<.{name}>>" in per_pod
        per_pod = per_pod.replace(f"<<.{name}>>", value)
    expected = [
        (per_pod, [{"labels": '{pod="a"}', "value": 3}, {"labels": '{pod="b"}', "value": 3}]),
        (trigger["metadata"]["query"], [{"labels": "{}", "value": 6}]),
    ]
    case = {
        "interval": "15s",
        "input_series": [{"series": f"{series}{{{labels}}}", "values": values} for labels, values in SERIES.items()],
        "promql_expr_test": [{"expr": query, "eval_time": "2m", "exp_samples": samples} for query, samples in expected],
    }
    (tmp_path / "case.yml").write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [case]}))
    command = ["promtool", "test", "rules", str(tmp_path / "case.yml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@requires_kubectl
def test_the_metric_of_the_autoscaler_is_the_one_of_the_adapter():
    [metric] = render("cpu").one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert [rule["name"]["as"] for rule in ADAPTER["rules"]] == [metric["pods"]["metric"]["name"]]
