"""The interface of recorders of finished requests."""

from collections.abc import Sequence
from typing import Protocol

from app.batching.work import Timings
from app.loaded import LoadedModel


class RequestObserver(Protocol):
    """Records every finished inference request; ``telemetry.metrics`` implements it."""

    def request_done(
        self, *, model: LoadedModel | None, protocol: str, code: int, seconds: float, timings: Timings
    ) -> None:
        """Called after each reply; ``model`` is None if the path does not lead to a version that serves."""
        ...

    def requests_answered(
        self, *, model: LoadedModel, protocol: str, seconds: Sequence[float], timings: Timings
    ) -> None:
        """Called after the replies, with status 200, to requests with the same timings."""
        ...
