"""The answers of the application are those of ``python -m app serve``, byte by byte; metrics are sums."""

from pathlib import Path
from typing import Any

import httpx

from tests.ray_serve.nodes import Nodes
from tests.ray_serve.questions import Question, questions
from tests.support.service import Service, sample, wait_until

COMPARED_HEADERS = ("content-type", "allow", "inference-header-content-length", "retry-after")
REFUSED = ("load", "unload", "promote", "rollback")
PAGES = ("/", "/docs")
"""With several groups they show the models of the first."""
SENT = 40


def same_answers(nodes: Nodes, models: Path) -> str:
    """Compare every answer; returns what was seen."""
    return _same(nodes, models, questions())


def same_answers_of_groups(nodes: Nodes, models: Path) -> str:
    """The same behind the ingress of three groups, whose models load with their first request."""
    nodes.deploy(
        models,
        groups=[
            {"name": "images", "models": ["brightness"], "num_cpus": 0.5},
            {"name": "texts", "models": ["words", "verse"], "num_cpus": 0.5},
            {"name": "numbers", "models": ["rule"], "num_cpus": 0.5},
        ],
        settings={"load_models": "on-request"},
    )
    assert nodes.client.get("/v2/health/ready").status_code == 200
    states = {each["name"]: each["state"] for each in nodes.client.post("/v2/repository/index").json()}
    assert states == dict.fromkeys(("brightness", "rule", "verse", "words"), "UNAVAILABLE")
    asked = questions()
    for each in asked:
        _answer(nodes.client, each)
    return (
        f"three groups, loaded on request: {_same(nodes, models, [each for each in asked if each.path not in PAGES])}"
    )


def refused_commands(nodes: Nodes) -> str:
    """Commands of administrators say why they are refused, and what to do."""
    for verb in REFUSED:
        reply = nodes.client.post(f"/v2/repository/models/brightness/{verb}", json={"version": 1})
        assert reply.status_code == 403
        assert f"{verb} is closed on Ray, since it would change one replica of several;" in reply.json()["error"]
    return f"{len(REFUSED)} admin commands refused with the reason"


def summed_metrics(nodes: Nodes) -> str:
    """Requests to several replicas add up in /metrics, whichever replica answers the scrape."""
    for _ in range(SENT):  # no other request here is of this kind
        nodes.client.post("/v1/models/words:predict", json={"instances": ["good"]}).raise_for_status()

    def counted() -> float:
        return sample(nodes.client, "atelier_requests_total", model="words", protocol="v1:predict", code="200")

    wait_until(lambda: counted() == SENT)
    assert all(counted() == SENT for _ in range(SENT))
    shares = _by_replica(nodes)
    assert len(shares) == len(nodes.replicas()) == sample(nodes.client, "atelier_workers")
    assert all(shares.values())
    return (
        f"{SENT} requests counted in each of {SENT} scrapes; inference requests by replica: {sorted(shares.values())}"
    )


def _same(nodes: Nodes, models: Path, asked: list[Question]) -> str:
    service = Service(models)
    try:
        different = [each for each in asked if _answer(nodes.client, each) != _answer(service.client, each)]
    finally:
        assert service.stop() == 0
    assert not different, [f"{each.method} {each.path}" for each in different]
    return f"{len(asked)} of {len(asked)} answers equal those of one process (status, body, content type)"


def _by_replica(nodes: Nodes) -> dict[str, float]:
    lines = nodes.client.get("/metrics").text.splitlines()
    found = [line.rpartition(" ") for line in lines if line.startswith("atelier_worker_requests_total{")]
    return {name: float(value) for name, _, value in found}


def _answer(client: httpx.Client, question: Question) -> tuple[Any, ...]:
    reply = client.request(question.method, question.path, content=question.body, headers=dict(question.headers))
    return reply.status_code, reply.content, [reply.headers.get(name) for name in COMPARED_HEADERS]
