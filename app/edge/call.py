"""An inference request, before and after decoding, independent of the protocol."""

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
    """The target of an inference request.

    Attributes:
        api: the protocol.
        name: model.
        version, label: as written by the client; at most one of them is set.
        verb: the operation, in lower case; for TensorFlow Serving not necessarily one of ``V1_VERBS``.
        protocol: protocol and verb, as metrics name them: ``v1:predict``.
        is_inference: whether the reply contains tensors and is sent in one piece.
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
    """An inference request from its first byte to its answer. Each protocol adds its own attributes.

    Attributes:
        route: the target.
        began: arrival of its first byte, monotonic seconds.
        timings: seconds in each stage so far.
        model: the version that answers; None until it is found.
        rollout: the canary that is compared with it; None without a canary, or if the request names a version.
        code: HTTP status code of the answer, for gRPC too.
        has_own_timeout: the client has set the timeout, so that a late answer is not a fault of the version.
        explains: its answer is an explanation, whose time and faults say nothing of the version's answers.
    """

    route: Route
    began: float
    timings: Timings = field(default_factory=Timings)
    model: LoadedModel | None = None
    rollout: Rollout | None = None
    code: int = 500
    has_own_timeout: bool = False
    explains: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether all of the request has arrived."""
        return True


@dataclass(slots=True)  # not frozen: a frozen one takes three times as long to create, and each request creates one
class InferenceRequest(Generic[Reply_co]):
    """A request as tensors, and the function that encodes its answer.

    Attributes:
        inputs: input name -> (rows, *shape), or images or texts that are not decoded yet.
        print_answer: encodes the outputs in the format that the request specifies.
        options: priority and timeout, if the protocol has them.
        model: what answers, of a request that may name a signature; None for the model that was found.
    """

    inputs: Inputs
    print_answer: Callable[[Answer], Reply_co]
    options: RequestOptions = DEFAULT_OPTIONS
    model: LoadedModel | None = None
