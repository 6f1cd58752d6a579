"""The interface of what traces requests."""

from typing import Protocol

from app.edge.call import Call


class RequestTrace(Protocol):
    """The span of one request that is traced.

    Attributes:
        trace_id: 32 hexadecimal digits.
    """

    trace_id: str

    @property
    def traceresponse(self) -> bytes:
        """Identifies the span, for the reply."""
        ...

    def end(self, call: Call, request_id: str, seconds: float) -> None:
        """End the span of a request that took so long."""
        ...


class RequestTracer(Protocol):
    """Traces some of the inference requests; ``telemetry.tracing`` implements it."""

    def chooses(self) -> bool:
        """Whether the next plain request begins a trace, and must not be answered together with others."""
        ...

    def begin(self, call: Call, traceparent: bytes | None) -> RequestTrace | None:
        """Begin the span of a request that came with this field; None if it is not traced."""
        ...
