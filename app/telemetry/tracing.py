"""Spans of inference requests, sent to an OpenTelemetry collector. Only with the extra ``tracing``.

A request that is traced takes the general way through the service, and its spans are made when it ends, from the times
that every request has anyway. So nothing is measured twice, and a request that is not traced costs a comparison.
"""

import os
import random
import time
from typing import Any

from app import __version__
from app.batching.work import Timings
from app.edge.call import Call
from app.edge.entry.trace_context import TraceContext
from app.telemetry.counts import STAGES
from app.types import Clock

EXPORT_TIMEOUT_S = 3.0
"""Most seconds to send some spans, also at the end of the process; then they are lost."""
_NS = 1e9


class RequestSpan:
    """The span of one request; implements ``edge.tracer.RequestTrace``.

    Args:
        tracer: of OpenTelemetry.
        parent: context of OpenTelemetry; None: the request begins a trace.
        name: of the span.
        start_ns: arrival of the first byte, nanoseconds since 1970.

    Attributes:
        trace_id: 32 hexadecimal digits.
    """

    def __init__(self, tracer: Any, parent: Any, name: str, start_ns: int) -> None:
        from opentelemetry.trace import SpanKind

        self._tracer = tracer
        self._start_ns = start_ns
        self._span = tracer.start_span(name, context=parent, kind=SpanKind.SERVER, start_time=start_ns)
        context = self._span.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self._span_id = f"{context.span_id:016x}"

    @property
    def traceresponse(self) -> bytes:
        """The span, in the form of ``traceparent``, for the reply."""
        return f"00-{self.trace_id}-{self._span_id}-01".encode()

    def end(self, call: Call, request_id: str, seconds: float) -> None:
        """End the span of a request that took so long, with a child for each stage.

        The stages are placed one after the other; the moments between them are not known.
        """
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        self._span.set_attributes(
            {
                "atelier.protocol": call.route.protocol,
                "atelier.request_id": request_id,
                "http.response.status_code": call.code,
            }
        )
        if call.model is not None:  # a name that does not exist is the client's own invention
            self._span.set_attributes({"atelier.model": call.model.name, "atelier.version": call.model.version})
        if call.code >= 500:
            self._span.set_status(Status(StatusCode.ERROR))
        context = set_span_in_context(self._span)
        for stage, start_ns, end_ns in _stages(call.timings, self._start_ns, is_answered=call.code == 200):
            self._tracer.start_span(stage, context=context, start_time=start_ns).end(end_ns)
        self._span.end(self._start_ns + round(_NS * seconds))


def _stages(timings: Timings, start_ns: int, *, is_answered: bool) -> list[tuple[str, int, int]]:
    """Name, start and end of each stage that the request reached."""
    found = []
    for stage in STAGES:
        seconds = getattr(timings, stage)
        if seconds or is_answered:
            end_ns = start_ns + round(_NS * seconds)
            found.append((stage, start_ns, end_ns))
            start_ns = end_ns
    return found


class Tracing:
    """Decides which requests are traced, and sends their spans in a thread; implements ``edge.tracer.RequestTracer``.

    The queue of spans is bounded, and what the collector does not take is lost. The variables of OpenTelemetry's SDK
    apply, such as OTEL_SERVICE_NAME and OTEL_EXPORTER_OTLP_HEADERS.

    Args:
        endpoint: URL of the collector for OTLP over HTTP, such as http://localhost:4318/v1/traces.
        ratio: share of the requests without a trace of their client that begin one, 0 to 1.
        clock: monotonic seconds, as in ``Call.began``.
    """

    def __init__(self, *, endpoint: str, ratio: float, clock: Clock) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        attributes = {"service.version": __version__}
        if "OTEL_SERVICE_NAME" not in os.environ:
            attributes["service.name"] = "atelier"
        self._ratio = ratio
        self._clock = clock
        self._chosen = 0  # requests that ``chooses`` has chosen and that have not begun
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(attributes), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("atelier", __version__)

    def chooses(self) -> bool:
        """Whether the next plain request begins a trace, and must not be answered together with others."""
        if random.random() >= self._ratio:
            return False
        self._chosen += 1
        return True

    def begin(self, call: Call, traceparent: bytes | None) -> RequestSpan | None:
        """Begin the span of a request; None if it is not traced: its client does not record the trace, or by chance."""
        given = TraceContext.parse(traceparent)
        if given is not None:
            return self._span(call, given) if given.is_sampled else None
        if self._chosen:
            self._chosen -= 1
        elif random.random() >= self._ratio:
            return None
        return self._span(call, None)

    def _span(self, call: Call, given: TraceContext | None) -> RequestSpan:
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        parent = None
        if given is not None:
            flags = TraceFlags(TraceFlags.SAMPLED)
            ids = int(given.trace_id, 16), int(given.span_id, 16)
            parent = set_span_in_context(NonRecordingSpan(SpanContext(*ids, is_remote=True, trace_flags=flags)))
        start_ns = time.time_ns() - round(_NS * (self._clock() - call.began))
        return RequestSpan(self._tracer, parent, call.route.protocol, start_ns)

    def close(self) -> None:
        """Send the last spans. Blocks, for some seconds if the collector does not answer."""
        self._provider.shutdown()
