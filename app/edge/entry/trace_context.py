"""The trace of a request, as its client states it. Source: W3C Trace Context, https://www.w3.org/TR/trace-context/."""

import importlib.util
import re
from typing import NamedTuple

HEADER = b"traceparent"
RESPONSE = b"traceresponse"
"""Of a reply: the span of the service. Source: W3C Trace Context, level 3, draft."""
_SAMPLED = 1
_EXTRA = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
# A version after 00 may add more fields behind these.
_FORM = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class TraceContext(NamedTuple):
    """The trace and the span that a request belongs to.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits, of the span of the client.
        is_sampled: whether the client records the trace.
    """

    trace_id: str
    span_id: str
    is_sampled: bool

    @classmethod
    def parse(cls, value: bytes | None) -> "TraceContext | None":
        """The value of ``traceparent``; None without a valid one, which W3C wants to be ignored."""
        found = None if value is None else _FORM.fullmatch(value)
        if found is None or (found[1] == b"00" and found[5] is not None):
            return None
        return cls(found[2].decode(), found[3].decode(), bool(int(found[4], 16) & _SAMPLED))


def is_installed() -> bool:
    """Whether the packages of the extra ``tracing`` are there."""
    try:
        return importlib.util.find_spec(_EXTRA) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
