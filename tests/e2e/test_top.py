"""``top``: the figures of a running service between two readings."""

import re
import threading

import httpx
import pytest

from app.control.readings import Counts, rates_between
from tests.support.commands import run
from tests.support.tiny_models import SIDE, write_words_model

GREY = bytes(SIDE * SIDE)
HEADERS = {"Content-Type": "application/octet-stream"}


def row(printed, model):
    [line] = [line for line in printed.splitlines() if model in line]
    return [cell.strip() for cell in re.split("[│|]", line) if cell.strip()]


def test_a_version_in_use_has_its_rate_its_times_and_its_batches(start, models):
    write_words_model(models)
    service = start(models)
    stop = threading.Event()

    def ask():
        with httpx.Client(base_url=service.url) as client:
            while not stop.is_set():
                client.post("/v1/models/brightness:predict", content=GREY, headers=HEADERS).raise_for_status()

    load = threading.Thread(target=ask)
    load.start()
    try:
        shown = run("top", "--once", "--interval", 0.5, "--url", service.url)
    finally:
        stop.set()
        load.join()
    assert shown.returncode == 0, shown.stderr
    _, version, state, requests, failed, p50, p99, rows, queued, device = row(shown.stdout, "brightness")
    assert (version, state, failed, rows, device) == ("1", "READY", "0.0", "1.00", "cpu")
    assert float(requests.replace(",", "")) > 10
    assert 0 < float(p50) <= float(p99) < 1000
    assert float(queued) <= 1
    assert row(shown.stdout, "words") == ["words", "1", "READY", "0.0", "0.0", "0", "cpu"]


def test_failures_for_a_model_that_does_not_serve_are_shown(start, models):
    service = start(models)
    service.client.post("/v1/models/nope:predict", json={"instances": [1]})
    shown = run("top", "--once", "--interval", 0.2, "--url", service.url)
    assert row(shown.stdout, "(none serves)") == ["(none serves)", "0.0", "0.0", "0"]
    assert service.client.get("/playground/models").status_code == 200


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000", "--url is 'localhost:8000'; expected http://HOST:PORT"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9 does not answer: [Errno 111] Connection refused"),
    ],
)
def test_a_service_that_is_not_there_is_one_sentence(url, message):
    result = run("top", "--once", "--url", url)
    assert (result.returncode, result.stderr.strip()) == (2, f"error: {message}")


def test_metrics_that_require_a_key_are_one_sentence(start, models, tmp_path):
    keys = tmp_path / "keys.json"
    key = run("keys", "new", "--name", "watcher", "--scopes", "metrics", "--file", keys).stdout.strip()
    service = start(models, "--api-keys-file", str(keys), environment={"ATELIER_METRICS_ACCESS": "key"})
    refused = run("top", "--once", "--url", service.url)
    assert refused.stderr.strip() == f"error: {service.url}/metrics answers 401; it may require a key, --api-key"
    assert "brightness" in run("top", "--once", "--url", service.url, "--api-key", key).stdout


def test_quantiles_are_those_of_prometheus_and_a_restart_starts_from_nothing():
    before = Counts(requests=100, buckets={0.001: 90.0, 0.01: 100.0, float("inf"): 100.0})
    now = Counts(requests=200, failed=5, rows=40, batches=10, buckets={0.001: 140.0, 0.01: 198.0, float("inf"): 200.0})
    rates = rates_between(before, now, 2)
    assert (rates.requests, rates.failed, rates.batch_rows) == (50, 2.5, 4)
    assert rates.p50_ms == pytest.approx(1.0)
    assert rates.p99_ms == pytest.approx(10.0)  # in the last bucket, whose lower bound is known
    assert rates_between(now, before, 2).requests == 50
    idle = rates_between(now, now, 1)
    assert (idle.requests, idle.p50_ms, idle.batch_rows) == (0, None, None)
