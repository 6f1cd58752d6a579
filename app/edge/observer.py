"""Who is told of requests."""

from typing import Protocol

from app.batching.work import Timings
from app.loaded import LoadedModel


class RequestObserver(Protocol):
    """Is told of every finished inference request; ``telemetry.metrics`` implements it."""

    def request_done(
        self, *, model: LoadedModel | None, protocol: str, code: int, seconds: float, timings: Timings
    ) -> None:
        """A reply went out; ``model`` is None when the path named none that serves."""
        ...
