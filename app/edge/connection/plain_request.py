"""A plain request on its connection: the one object that it costs."""

from typing import TYPE_CHECKING, Protocol

from app.edge.connection.cycle import Cycle
from app.edge.connection.known_heads import KnownHead
from app.edge.respond import Header, Reply
from app.errors import ServingError

if TYPE_CHECKING:
    from app.edge.joint.request import JointRequest


class Connection(Protocol):
    """The connection of the request."""

    def head_of_reply(self, headers: tuple[Header, ...]) -> bytes:
        """The head of a reply with status 200, without the request id and the length of the body."""
        ...

    def reply_plainly(self, plain: "PlainRequest", head: bytes, body: bytes) -> None:
        """Write the reply and continue with the next request."""
        ...

    def refuse_plainly(self, plain: "PlainRequest", reply: Reply) -> str:
        """Write a refusal and continue with the next request; returns the request id."""
        ...

    def answer_alone(self, plain: "PlainRequest") -> None:
        """Answer it as a request of any other form."""
        ...


class PlainRequest(Cycle):
    """A request that is answered together with others; uvicorn's protocol sees it as the cycle of a request.

    Args:
        connection: receives the reply.
        known: its head.
        body: all of it.
        began: arrival of its first byte, monotonic seconds.

    Attributes:
        read_s: seconds until all of it was read, if it waited for a turn.
        is_waiting: its client waits, and is not answered yet.
        keep_alive: whether the connection stays open after the reply.
        joint: the request that it is part of.
    """

    __slots__ = ("began", "body", "connection", "is_waiting", "joint", "keep_alive", "known", "read_s")

    def __init__(self, connection: Connection, known: KnownHead, body: bytes, began: float) -> None:
        self.disconnected = False
        self.connection = connection
        self.known = known
        self.body = body
        self.began = began
        self.read_s = 0.0
        self.is_waiting = True
        self.keep_alive = not known.is_last
        self.joint: JointRequest | None = None

    @property
    def headers(self) -> list[Header]:
        """Of its head."""
        return self.known.headers(len(self.body))

    @property
    def response_complete(self) -> bool:
        """Whether the request is answered, or nobody waits for the answer."""
        return not self.is_waiting

    @response_complete.setter
    def response_complete(self, value: bool) -> None:
        self.is_waiting = not value

    def cancel(self) -> None:
        """The client no longer waits."""
        if self.is_waiting:
            self.is_waiting = False
            if self.joint is not None:
                self.joint.leave(self)

    def head_of_reply(self, headers: tuple[Header, ...]) -> bytes:
        """The head of its reply, without what differs from one request to the next."""
        return self.connection.head_of_reply(headers)

    def reply(self, head: bytes, body: bytes) -> None:
        """Write the reply."""
        self.is_waiting = False
        self.connection.reply_plainly(self, head, body)

    def refuse(self, error: ServingError, reply: Reply) -> str:
        """Write a refusal; returns the request id."""
        self.is_waiting = False
        return self.connection.refuse_plainly(self, reply)

    def answer_alone(self) -> None:
        """Answer it as a request of any other form."""
        self.is_waiting = False
        self.connection.answer_alone(self)
