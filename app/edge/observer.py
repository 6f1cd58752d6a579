"""The interface of recorders of finished requests."""

from collections.abc import Sequence
from typing import Protocol

from app.batching.work import Timings
from app.loaded import LoadedModel


def explained(protocol: str) -> str:
    """The protocol of a request for an explanation, for metrics: ``v1:explain``, ``grpc:explain``."""
    return f"{protocol.partition(':')[0]}:explain"


class RequestObserver(Protocol):
    """Records every finished inference request; ``telemetry.metrics`` implements it."""

    def request_done(
        self,
        *,
        model: LoadedModel | None,
        protocol: str,
        code: int,
        seconds: float | None,
        timings: Timings,
        trace_id: str | None = None,
    ) -> None:
        """Called after each reply.

        Args:
            model: None if the path does not lead to a version that serves.
            protocol: as ``Route.protocol``.
            code: HTTP status code.
            seconds: from the first byte to the reply; None: an explanation, which is no answer of the version.
            timings: of the stages.
            trace_id: of the trace that the client records; None without one.
        """
        ...

    def requests_answered(
        self, *, model: LoadedModel, protocol: str, seconds: Sequence[float], timings: Timings
    ) -> None:
        """Called after the replies, with status 200, to requests with the same timings."""
        ...
