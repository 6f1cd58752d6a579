"""Exemplars of the request histogram: the trace ids of requests that came with a traceparent."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.http_requests import image
from tests.support.service import Service, wait_until

TRACES = [f"{number:032x}" for number in range(1, 9)]
OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture(scope="module", params=["1", "2"], ids=["one process", "two workers"])
def service(request, models):
    service = Service(models, "--workers", request.param)
    yield service
    assert service.stop() == 0


def ask(service, trace_id, *, flags="01", **body):
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-{flags}"}
    return service.client.post("/v2/models/brightness/infer", json=body or image(), headers=headers)


def exemplars(service):
    """Trace id -> seconds, and the bounds of its bucket."""
    text = service.client.get("/metrics", headers=OPENMETRICS).text
    found, below = {}, 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "atelier_request_seconds_bucket":
                bound = float(sample.labels["le"])
                if sample.exemplar:
                    found[sample.exemplar.labels["trace_id"]] = (below, sample.exemplar.value, bound)
                below = bound
    return found


def test_the_last_trace_of_a_bucket_is_its_exemplar(service):
    for trace_id in TRACES:
        assert ask(service, trace_id).status_code == 200
    wait_until(lambda: TRACES[-1] in exemplars(service))
    for low, seconds, high in exemplars(service).values():
        assert low < seconds <= high
    refused = "f" * 32
    assert ask(service, refused, inputs=[]).status_code == 400
    wait_until(lambda: refused in exemplars(service))


def test_the_same_head_again_and_again_is_looked_at_each_time(service):
    again = "e" * 32
    for _ in range(5):
        ask(service, again)
    other = "d" * 32
    ask(service, other)
    wait_until(lambda: other in exemplars(service))


def test_a_trace_that_the_client_does_not_record_is_no_exemplar(service):
    ask(service, "a" * 32, flags="00")
    last = "b" * 32
    ask(service, last)
    wait_until(lambda: last in exemplars(service))
    assert "a" * 32 not in exemplars(service)


def test_the_text_format_has_none(service):
    ask(service, "c" * 32)
    wait_until(lambda: "c" * 32 in exemplars(service))
    assert "c" * 32 not in service.client.get("/metrics").text
