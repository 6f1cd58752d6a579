"""Refuses requests that a model cannot answer in time, before they are decoded, and from the head alone if it decides.

Under overload most requests are refused, so a refusal must cost less than an answer of a server without any other work:
the head is parsed and one prepared reply is written, the same until an item leaves the queue or 5 ms have passed.
"""

from dataclasses import dataclass
from weakref import ref

from app.batching.work import Timings
from app.edge.call import Route
from app.edge.observer import RequestObserver
from app.edge.respond import Reply, error_reply
from app.errors import DeadlineOutOfReach, Unavailable
from app.lifecycle.registry import Registry
from app.loaded import LoadedModel
from app.types import Clock

# Seconds for which a refusal is repeated at most; running batches end within this time.
VALID_S = 0.005
# A request that has waited longer to be read has less than its timeout left.
WAITED_S = 0.001
_NO_TIMINGS = Timings()


@dataclass(slots=True)
class _Refusal:
    model: "ref[LoadedModel]"  # a refusal does not keep a retired version in memory
    turnover: int
    until: float
    waited_s: float  # those that have waited at least as long are refused
    reply: Reply


class EarlyRefusals:
    """Refuses requests before their bodies are read.

    Args:
        registry: finds the model version.
        observer: records every refusal.
        clock: monotonic seconds.
    """

    def __init__(self, *, registry: Registry, observer: RequestObserver, clock: Clock) -> None:
        self._registry = registry
        self._observer = observer
        self._clock = clock
        self._last: dict[str, _Refusal] = {}

    def of(self, route: Route, arrived: float) -> Reply | None:
        """The refusal of a request without its own priority and timeout; None if the request must be examined.

        Args:
            route: of the request; a request with a version or a label is always examined.
            arrived: when its first byte arrived, monotonic seconds.
        """
        model = self._registry.default(route.name) if route.version is None and route.label is None else None
        if model is None:
            return None
        began = self._clock()
        waited_s = began - arrived if began - arrived > WAITED_S else 0.0
        if not model.admission.rows and not waited_s:
            return None
        rollout = self._registry.rollout(route.name)
        if rollout is not None and rollout.splits:
            return None
        reply = self._reply(model, began, waited_s)
        if reply is not None:
            self._observer.request_done(
                model=model,
                protocol=route.protocol,
                code=reply.status,
                seconds=self._clock() - began,
                timings=_NO_TIMINGS,
            )
        return reply

    def _reply(self, model: LoadedModel, now: float, waited_s: float) -> Reply | None:
        turnover = model.admission.turnover
        last = self._last.get(model.name)
        if (
            last is not None
            and last.model() is model
            and last.turnover == turnover
            and now < last.until
            and waited_s >= last.waited_s
        ):
            return last.reply
        left_s = model.default_timeout_s - waited_s
        try:
            if left_s <= 0:
                raise DeadlineOutOfReach(
                    f"the timeout of {model.default_timeout_s * 1e3:g} ms passed before the request was read; try again"
                )
            model.batcher.check_open(level=model.batcher.rules.default_priority_level, left_s=left_s)
        except Unavailable as error:
            reply = error_reply(error)
            self._last[model.name] = _Refusal(ref(model), turnover, now + VALID_S, waited_s, reply)
            return reply
        return None
