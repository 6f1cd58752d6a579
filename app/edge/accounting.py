"""Counts inference requests that have ended, and writes the access log."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from app.edge.call import Call
from app.edge.entry.access_log import AccessLog
from app.edge.entry.trace_context import TraceContext
from app.edge.observer import RequestObserver, explained
from app.edge.tracer import RequestTrace
from app.types import Clock

AnyCall = TypeVar("AnyCall", bound=Call)


class Caller(NamedTuple):
    """The client that sent a request: request id, address, and name of its API key if it has one."""

    request_id: str
    client: str
    key: str | None


class Accounting:
    """Tells everybody who counts a request that it was answered, refused or abandoned.

    Args:
        observer: records every request.
        access_log: logs the answered requests; None: no access log.
        clock: monotonic seconds.
    """

    def __init__(self, *, observer: RequestObserver, access_log: AccessLog | None, clock: Clock) -> None:
        self._observer = observer
        self._access_log = access_log
        self._clock = clock

    def ended(
        self,
        call: AnyCall,
        trace: RequestTrace | None,
        *,
        traceparent: Callable[[AnyCall], bytes | None],
        caller: Callable[[AnyCall], Caller],
        size: Callable[[], int | None] | None,
    ) -> None:
        """Count a request, and log it if it is chosen.

        Args:
            call: the request.
            trace: its span; None if it is not traced.
            traceparent, caller: what the protocol knows of a request.
            size: of the body of its reply, in bytes; None without a reply.
        """
        protocol = call.route.protocol if not call.explains else explained(call.route.protocol)
        is_late = call.code == 504 and call.has_own_timeout
        if call.rollout is not None and call.model is not None and not (is_late or call.explains):
            call.rollout.answered(call.model, call.code)
        seconds = self._clock() - call.began
        if trace is not None:
            trace.end(call, caller(call).request_id, seconds)
        self._observer.request_done(
            model=call.model,
            protocol=protocol,
            code=call.code,
            seconds=None if call.explains else seconds,
            timings=call.timings,
            trace_id=_trace_id(traceparent(call)) if trace is None else trace.trace_id,
        )
        if self._access_log is not None and self._access_log.takes(call.code):
            self._access_log.write(
                **caller(call)._asdict(),
                protocol=call.route.protocol,
                model=call.route.name,
                version=None if call.model is None else call.model.version,
                code=call.code,
                bytes=None if size is None else size(),  # None: a streamed reply, or none
                ms=round(1e3 * seconds, 3),
            )


def _trace_id(traceparent: bytes | None) -> str | None:
    """The trace that the client of a request records."""
    context = TraceContext.parse(traceparent)
    return context.trace_id if context is not None and context.is_sampled else None
