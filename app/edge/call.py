"""An inference request: as it came, by whatever protocol, and decoded."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.batching.work import DEFAULT_OPTIONS, Answer, RequestOptions, Timings
from app.edge.codec.encoded import Inputs
from app.loaded import LoadedModel
from app.rollout.canary import Rollout

Reply_co = TypeVar("Reply_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Route:
    """What an inference request asks for.

    Attributes:
        api: which protocol.
        name: model.
        version, label: as written; at most one of them is set.
        verb: what to do, in lower case; for TensorFlow Serving not necessarily one of ``V1_VERBS``.
        protocol: protocol and verb, as metrics name them: ``v1:predict``.
        is_inference: whether it is answered with tensors in one piece.
    """

    api: str
    name: str
    version: str | None
    label: str | None
    verb: str
    protocol: str
    is_inference: bool


@dataclass(slots=True, kw_only=True)
class Call:
    """An inference request from its first byte to its answer. Each protocol adds what it knows of it.

    Attributes:
        route: what it asks for.
        began: monotonic seconds at which its first byte came.
        timings: seconds in each stage so far.
        model: the version that answers; None until it is found.
        rollout: the canary that is compared with it; None if there is none, or the request asks for a version.
        code: HTTP status code of the answer, also over gRPC.
    """

    route: Route
    began: float
    timings: Timings = field(default_factory=Timings)
    model: LoadedModel | None = None
    rollout: Rollout | None = None
    code: int = 500


@dataclass(slots=True)  # not frozen: that would triple the cost of making one, and every request makes one
class InferenceRequest(Generic[Reply_co]):
    """A request as tensors, and how its answer is printed.

    Attributes:
        inputs: input name -> (rows, *shape), or images or texts that are still to be decoded.
        print_answer: prints the outputs in the form that the request asked for.
        options: priority and timeout, where the protocol has them.
    """

    inputs: Inputs
    print_answer: Callable[[Answer], Reply_co]
    options: RequestOptions = DEFAULT_OPTIONS
