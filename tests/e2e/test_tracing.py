"""Spans of requests to a real service, as a collector of OpenTelemetry receives them."""

import subprocess
import sys
import time
from itertools import pairwise

import pytest

from app.edge.entry.trace_context import is_installed
from app.settings import Settings
from tests.support.grpc_requests import good
from tests.support.grpc_service import GrpcService
from tests.support.http_requests import image
from tests.support.otlp import attributes, collecting
from tests.support.service import Service, wait_until

with_extra = pytest.mark.skipif(not is_installed(), reason="the extra tracing is not installed")

STAGES = ["read", "decode", "queue", "compute", "encode"]
SPAN = "00f067aa0ba902b7"
FAST = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
INFER = "/v2/models/brightness/infer"


@pytest.fixture(scope="module")
def collector():
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def service(models, collector):
    environment = {**FAST, "ATELIER_TRACING_ENDPOINT": collector.url, "ATELIER_TRACING_RATIO": "0"}
    service = GrpcService(models, environment=environment)
    yield service
    assert service.stop() == 0


def parent(trace_id, flags="01"):
    return {"traceparent": f"00-{trace_id}-{SPAN}-{flags}"}


def root(collector, trace_id):
    """The span of the service in a trace."""

    def found():
        return [span for span, _ in collector.spans if span.trace_id.hex() == trace_id and span.kind == 2]

    wait_until(found)
    (span,) = found()
    return span


@with_extra
def test_a_request_of_a_trace_is_a_span_of_it_with_a_child_for_each_stage(service, collector):
    trace_id = "a" * 32
    began = time.time_ns()
    reply = service.client.post(INFER, json=image(), headers={**parent(trace_id), "x-request-id": "mine"})
    ended = time.time_ns()
    span = root(collector, trace_id)
    assert span.name == "v2:infer"
    assert span.parent_span_id.hex() == SPAN
    assert reply.headers["traceresponse"] == f"00-{trace_id}-{span.span_id.hex()}-01"
    slack_ns = 5_000_000  # two clocks are read one after the other
    assert began - slack_ns <= span.start_time_unix_nano <= span.end_time_unix_nano <= ended + slack_ns
    assert attributes(span) == {
        "atelier.protocol": "v2:infer",
        "atelier.request_id": "mine",
        "atelier.model": "brightness",
        "atelier.version": 1,
        "http.response.status_code": 200,
    }
    children = collector.children(span)
    assert [each.name for each in children] == STAGES
    for before, after in pairwise(children):
        assert before.start_time_unix_nano <= before.end_time_unix_nano == after.start_time_unix_nano
    assert children[-1].end_time_unix_nano <= span.end_time_unix_nano
    (facts,) = {tuple(sorted(facts.items())) for each, facts in collector.spans if each.span_id == span.span_id}
    assert dict(facts)["service.name"] == "atelier"


@with_extra
def test_a_refused_request_is_a_span_without_the_stages_that_it_did_not_reach(service, collector):
    trace_id = "b" * 32
    assert service.client.post(INFER, json={"inputs": []}, headers=parent(trace_id)).status_code == 400
    span = root(collector, trace_id)
    assert attributes(span)["http.response.status_code"] == 400
    assert "compute" not in [each.name for each in collector.children(span)]


@with_extra
def test_grpc_takes_the_trace_from_the_metadata_and_tells_the_span(service, collector):
    trace_id = "c" * 32
    metadata = tuple(parent(trace_id).items())
    _, call = service.stub.ModelInfer.with_call(good(), metadata=metadata)
    span = root(collector, trace_id)
    assert (span.name, span.parent_span_id.hex()) == ("grpc:infer", SPAN)
    assert [each.name for each in collector.children(span)] == STAGES
    trailers = dict(call.trailing_metadata())
    assert trailers["traceresponse"] == f"00-{trace_id}-{span.span_id.hex()}-01"
    assert trailers["x-request-id"] == attributes(span)["atelier.request_id"]


@with_extra
def test_other_requests_are_not_traced(service, collector):
    before = len(collector.spans)
    for headers in ({}, parent("d" * 32, flags="00"), {"traceparent": "nonsense"}):
        for _ in range(5):
            reply = service.client.post(INFER, json=image(), headers=headers)
            assert "traceresponse" not in reply.headers
    last = "e" * 32
    service.client.post(INFER, json=image(), headers=parent(last))
    root(collector, last)
    assert len(collector.spans) == before + 1 + len(STAGES)


@with_extra
def test_a_share_of_the_requests_begins_traces_also_of_those_that_are_answered_together(models, collector, start):
    environment = {**FAST, "ATELIER_TRACING_ENDPOINT": collector.url, "ATELIER_TRACING_RATIO": "0.25"}
    service = start(models, "--workers", "2", environment={**environment, "OTEL_SERVICE_NAME": "mine"})
    body = image()
    replies = [service.client.post(INFER, json=body) for _ in range(200)]
    traced = {reply.headers["traceresponse"].split("-")[1] for reply in replies if "traceresponse" in reply.headers}
    assert 20 < len(traced) < 90

    def received():
        return {span.trace_id.hex() for span, facts in collector.spans if facts["service.name"] == "mine"}

    wait_until(lambda: received() == traced)
    assert service.metric("atelier_requests_total", model="brightness", code="200") == 200


@with_extra
def test_the_last_spans_are_sent_at_the_end_of_the_process(models, collector):
    environment = {"OTEL_BSP_SCHEDULE_DELAY": "60000", "ATELIER_TRACING_ENDPOINT": collector.url}
    service = Service(models, environment=environment)
    trace_id = "f" * 32
    service.client.post(INFER, json=image(), headers=parent(trace_id))
    assert service.stop() == 0
    root(collector, trace_id)


@with_extra
def test_a_collector_that_is_not_there_costs_no_answer_and_no_clean_end(models):
    environment = {**FAST, "ATELIER_TRACING_ENDPOINT": "http://127.0.0.1:9/v1/traces", "ATELIER_TRACING_RATIO": "1"}
    service = Service(models, environment=environment)
    for _ in range(20):
        service.client.post(INFER, json=image()).raise_for_status()
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 10


def test_without_an_endpoint_no_package_of_the_extra_is_imported():
    code = "import app.main, sys; app.main.create_app(); print([n for n in sys.modules if 'opentelemetry.sdk' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("value", ["localhost:4318", "ftp://localhost", "http://"])
def test_an_endpoint_is_a_url(value):
    with pytest.raises(ValueError, match="is not a URL; write http://localhost:4318/v1/traces"):
        Settings(tracing_endpoint=value)


def test_a_missing_extra_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setattr("app.setting_types.is_installed", lambda: False)
    with pytest.raises(ValueError, match=r"tracing requires packages that are not installed: pip install -r"):
        Settings(tracing_endpoint="http://localhost:4318/v1/traces")
    assert Settings().tracing_endpoint is None
