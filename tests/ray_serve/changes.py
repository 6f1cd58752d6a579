"""What must not lose a request: more replicas, an update, a new version; and the death of a node, which may."""

import time
from collections import Counter
from pathlib import Path

from tests.ray_serve.load import Answer, Load, clients
from tests.ray_serve.nodes import Nodes
from tests.support.models_directory import publish
from tests.support.service import sample, wait_until
from tests.support.tiny_models import SIDE

CLIENTS = 8
PATH, BODY = "/v1/models/brightness:predict", bytes(SIDE * SIDE)
INFER = {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE], "data": list(BODY)}]}
ENOUGH = 100
"""Good answers after a change, as evidence that the application still serves."""


def scaled_up(nodes: Nodes, models: Path, *, most: int) -> str:
    """Load makes more replicas, and their end brings the number back to one."""
    autoscaling = {
        "min_replicas": 1,
        "max_replicas": most,
        "target_ongoing_requests": 1,
        "upscale_delay_s": 1,
        "downscale_delay_s": 2,
        "look_back_period_s": 2,
        "metrics_interval_s": 1,
    }
    nodes.deploy(models, groups=[{"autoscaling": autoscaling}])
    wait_until(lambda: len(nodes.replicas()) == 1)
    began = time.monotonic()
    with clients(nodes.url, PATH, BODY, count=CLIENTS) as load:
        wait_until(lambda: len(nodes.replicas()) == most, within_s=60)
        grown = time.monotonic() - began
    _all_good(load)
    ended = time.monotonic()
    wait_until(lambda: len(nodes.replicas()) == 1, within_s=60)
    shrunk = time.monotonic() - ended
    return (
        f"1 to {most} replicas after {grown:.0f} s of load, {len(load.answers)} answers, all 200; back to 1 after "
        f"{shrunk:.0f} s"
    )


def updated(nodes: Nodes, models: Path, *, replicas: int) -> str:
    """All replicas are replaced under load."""
    old = nodes.replicas()
    began = time.monotonic()
    with clients(nodes.url, PATH, BODY, count=CLIENTS) as load:
        _some_more(load)
        nodes.deploy(models, groups=[{"replicas": replicas}], revision="2")
        new = nodes.replicas()
        took = time.monotonic() - began
        _some_more(load)
    assert len(old) == len(new) == replicas
    assert not old & new
    _all_good(load)
    return (
        f"{replicas} replicas replaced in {took:.0f} s under {CLIENTS} clients: {len(load.answers)} answers, "
        "0 other than 200"
    )


def published(nodes: Nodes, models: Path) -> str:
    """One new version directory is served by every replica."""
    replicas, loads = len(nodes.replicas()), _loads(nodes)
    with clients(nodes.url, PATH, BODY, count=CLIENTS) as load:
        _some_more(load)
        publish(models, 2)
        began = time.monotonic()
        wait_until(lambda: _loads(nodes) == loads + replicas, within_s=60)
        took = time.monotonic() - began
        answered = [nodes.client.post("/v2/models/brightness/infer", json=INFER).json() for _ in range(ENOUGH)]
    _all_good(load)
    assert {each["model_version"] for each in answered} == {"2"}
    return f"version 2 serves in {replicas} of {replicas} replicas {took:.1f} s after it was published once"


def died(nodes: Nodes, *, replicas: int, at_once: bool = True) -> str:
    """A node is killed under load: only requests in progress fail; a new node gets the replica.

    Args:
        nodes: each with one replica.
        replicas: their number.
        at_once: the proxy sends no request to the dead replica; HAProxy may, until Serve knows that it died.
    """
    with clients(nodes.url, PATH, BODY, count=CLIENTS) as load:
        _some_more(load)
        before = len(load.answers)
        nodes.kill()
        killed = time.monotonic()
        _some_more(load)
        wait_until(lambda: len(nodes.replicas()) == replicas - 1, within_s=60)
        _some_more(load)
        known = time.monotonic()
        nodes.add()
        wait_until(lambda: len(nodes.replicas()) == replicas, within_s=60)
        _some_more(load)
    failed = load.failed
    later = [each for each in failed if each.sent > killed]
    assert len(failed) - len(later) <= CLIENTS
    assert all(each.sent < (killed if at_once else known) for each in failed)
    slowest = max(each.answered - each.sent for each in load.answers[before:])
    return (
        f"1 of {replicas} nodes killed under {CLIENTS} clients: {len(load.answers)} answers, {len(failed)} other than "
        f"200 {_counts(failed)}, of which {len(later)} were sent after the kill; slowest answer {slowest:.1f} s; "
        f"{replicas} replicas again with a new node"
    )


def _loads(nodes: Nodes) -> float:
    """Successful loads of the model, in all replicas together."""
    return sample(nodes.client, "atelier_model_loads_total", model="brightness", result="ready")


def _counts(failed: list[Answer]) -> str:
    return str(dict(Counter(each.status for each in failed)))


def _all_good(load: Load) -> None:
    assert load.failed == [], load.statuses


def _some_more(load: Load) -> None:
    """Wait for more good answers to requests that are sent from now on."""
    now = time.monotonic()
    wait_until(lambda: load.good_since(now) > ENOUGH, within_s=60)
