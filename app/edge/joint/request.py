"""Plain requests that are answered together, from their arrival to their answers."""

from collections.abc import Callable, Iterable
from typing import Protocol

from app.batching.work import Awaited, Timings
from app.edge.answering import CLIENT_CLOSED_REQUEST
from app.edge.call import Route
from app.edge.joint.row_forms import RowForm
from app.edge.respond import Header, Reply
from app.errors import ServingError
from app.loaded import LoadedModel


class Plain(Protocol):
    """A plain request.

    Attributes:
        began: arrival of its first byte, monotonic seconds.
        read_s: seconds until all of it was read, if it waited for a turn.
        is_waiting: its client waits, and is not answered yet.
        joint: the request that it is part of.
    """

    began: float
    read_s: float
    is_waiting: bool
    joint: "JointRequest | None"

    def head_of_reply(self, headers: tuple[Header, ...]) -> bytes:
        """The head of its reply, without what differs from one request to the next."""
        ...

    def reply(self, head: bytes, body: bytes) -> None:
        """Write the reply."""
        ...

    def refuse(self, error: ServingError, reply: Reply) -> str:
        """Write a refusal, over HTTP ``reply``; returns the request id."""
        ...

    def answer_alone(self) -> None:
        """Answer it as a request of any other form."""
        ...


Record = Callable[["JointRequest", Plain, int], None]


class JointRequest:
    """Plain requests that are answered together.

    Args:
        form: of all of them.
        model: the version that answers; the joint request has a lease on it.
        route: of all of them.
        record: called with the joint request, one of them, and the code of its answer.

    Attributes:
        waiting: all of them.
        counts: instances of each.
        count: instances of all.
        parts: see ``RowForm.stack``, until they are queued.
        nbytes: of the parts.
    """

    __slots__ = (
        "_left",
        "_record",
        "awaited",
        "count",
        "counts",
        "form",
        "model",
        "nbytes",
        "parts",
        "route",
        "timings",
        "waiting",
    )

    def __init__(self, form: RowForm, model: LoadedModel, route: Route, record: Record) -> None:
        self.form = form
        self.model = model
        self.route = route
        self._record = record
        self.waiting: list[Plain] = []
        self.counts: list[int] = []
        self.count = 0
        self.parts: list[bytes] = []
        self.nbytes = 0
        self.awaited: Awaited | None = None
        self.timings = Timings()
        self._left = 0
        model.leases.__enter__()

    @property
    def is_wanted(self) -> bool:
        """Whether a client still waits."""
        return self._left < len(self.waiting)

    def part(self, chosen: Iterable[int]) -> "JointRequest":
        """Some of the requests, to be answered by themselves."""
        part = JointRequest(self.form, self.model, self.route, self._record)
        for index in chosen:
            plain, count = self.waiting[index], self.counts[index]
            part.waiting.append(plain)
            part.counts.append(count)
            part.count += count
            part._left += not plain.is_waiting
            plain.joint = part
        part.timings.decode = self.timings.decode
        return part

    def end(self) -> list[Plain]:
        """All are answered, or will be by themselves. Returns them, and forgets them: they reference this object."""
        waiting, self.waiting, self.parts = self.waiting, [], []
        self.model.leases.__exit__()
        return waiting

    def leave(self, plain: Plain) -> None:
        """A client no longer waits. What nobody waits for is removed from the queue."""
        self._left += 1
        self._record(self, plain, CLIENT_CLOSED_REQUEST)
        if not self.is_wanted and self.awaited is not None:
            self.awaited.cancel()
