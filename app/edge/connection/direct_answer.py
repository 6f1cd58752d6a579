"""An answer that runs as a task does, without a turn of the event loop before and after it."""

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Coroutine
from typing import Any, Protocol

from app.edge.respond import Reply
from app.edge.rest.request import HttpRequest


class Connection(Protocol):
    """Who the reply goes to."""

    loop: asyncio.AbstractEventLoop

    def replied(self, answer: "DirectAnswer", reply: Reply | None) -> None:
        """Write the reply; None: the service ends its connections."""
        ...


class DirectAnswer:
    """Runs the coroutine of one answer, at once until it first waits and then from one wait to the next.

    To asyncio it is the current task, so that what is awaited may use ``asyncio.timeout``, ``sleep(0)`` or a task group
    as in any other task; it begins without a turn of the event loop, and ends in a call of the connection. To uvicorn's
    protocol it is the cycle of a request.

    Attributes:
        request: that is answered.
        parts: of its body, as they came.
        keep_alive: whether the connection stays open after the reply.
        response_complete, disconnected: as in uvicorn's cycles.

    Source: Python documentation, Extending asyncio, third-party task implementations; eager tasks are new in 3.12.
    """

    __slots__ = (
        "_answer",
        "_cancellations",
        "_connection",
        "_is_cancelled",
        "_waiting",
        "disconnected",
        "keep_alive",
        "parts",
        "request",
        "response_complete",
    )

    def __init__(self, connection: Connection, request: HttpRequest, *, keep_alive: bool) -> None:
        self.request = request
        self.parts: list[bytes] = []
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self._connection = connection
        self._answer: Coroutine[Any, None, Reply | None] | None = None
        self._waiting: Any = None
        self._cancellations = 0
        self._is_cancelled = False

    @property
    def message_event(self) -> "DirectAnswer":
        """Has a ``set`` that uvicorn calls when the connection is lost."""
        return self

    def set(self) -> None:
        """See ``message_event``."""

    def begin(self, answer: Coroutine[Any, None, Reply | None]) -> None:
        """Run until the answer waits for something."""
        self._answer = answer
        self._step()

    def cancel(self, msg: Any = None) -> bool:
        """As of a task: where the answer waits, it gets a CancelledError."""
        if self.response_complete:
            return False
        self._cancellations += 1
        if self._waiting is None or not self._waiting.cancel(msg=msg):
            self._is_cancelled = True
        return True

    def done(self) -> bool:
        """As of a task: whether the answer is given."""
        return self.response_complete

    def cancelling(self) -> int:
        """As of a task: how often it was cancelled."""
        return self._cancellations

    def uncancel(self) -> int:
        """As of a task: one time less, and how often is left."""
        self._cancellations = max(0, self._cancellations - 1)
        return self._cancellations

    def _step(self, _: object = None) -> None:
        answer, loop = self._answer, self._connection.loop
        assert answer is not None
        self._waiting = None
        _enter_task(loop, self)  # type: ignore[arg-type]
        try:
            if self._is_cancelled:
                self._is_cancelled = False
                waiting = answer.throw(asyncio.CancelledError())
            else:
                # What a task does: a future that is awaited yields itself and, sent to when it is done, has its result.
                waiting = answer.send(None)
        except StopIteration as end:
            waiting, reply, is_done = None, end.value, True
        else:
            is_done = False
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]
        if is_done:
            self._connection.replied(self, reply)
        elif waiting is None:  # it only gives others their turn
            loop.call_soon(self._step)
        else:
            waiting._asyncio_future_blocking = False
            waiting.add_done_callback(self._step)
            self._waiting = waiting
            if self._is_cancelled and waiting.cancel():
                self._is_cancelled = False
