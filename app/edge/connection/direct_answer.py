"""A task-like runner for one answer that saves a turn of the event loop at its start and at its end."""

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Coroutine
from typing import Any, Protocol

from app.edge.answering import ClientLeft
from app.edge.connection.cycle import Cycle
from app.edge.respond import Reply
from app.edge.rest.request import HttpRequest


class Connection(Protocol):
    """The connection that receives the reply."""

    loop: asyncio.AbstractEventLoop

    def replied(self, answer: "DirectAnswer", reply: Reply | None) -> None:
        """Write the reply; None: the client no longer waits, or the service is closing its connections."""
        ...


class DirectAnswer(Cycle):
    """Runs the coroutine of one answer: immediately until it first waits, then from one wait to the next.

    asyncio sees it as the current task, so the awaited code may use ``asyncio.timeout``, ``sleep(0)`` or a task group
    as in any other task. It starts without a turn of the event loop, and its end calls the connection. uvicorn's
    protocol sees it as the cycle of a request.

    Attributes:
        request: the request that is answered.
        parts: parts of its body, in order of arrival.
        head: the head of the request, if it may be remembered.
        keep_alive: whether the connection stays open after the reply.
        is_last: whether its head says that it does not.
        response_complete: the request is answered, or nobody waits for the answer.

    Source: Python documentation, Extending asyncio, third-party task implementations; eager tasks are new in 3.12.
    """

    __slots__ = (
        "_answer",
        "_cancellations",
        "_connection",
        "_is_cancelled",
        "_waiting",
        "head",
        "is_last",
        "keep_alive",
        "parts",
        "request",
        "response_complete",
    )

    def __init__(self, connection: Connection, request: HttpRequest, *, keep_alive: bool) -> None:
        super().__init__()
        self.request = request
        self.parts: list[bytes] = []
        self.head = b""
        self.keep_alive = keep_alive
        self.is_last = not keep_alive
        self.response_complete = False
        self._connection = connection
        self._answer: Coroutine[Any, None, Reply | None] | None = None
        self._waiting: Any = None
        self._cancellations = 0
        self._is_cancelled = False

    def begin(self, answer: Coroutine[Any, None, Reply | None]) -> None:
        """Run until the coroutine waits for something."""
        self._answer = answer
        self._step()

    def cancel(self, msg: Any = None) -> bool:
        """Like ``Task.cancel``: raise CancelledError where the coroutine waits."""
        if self.response_complete:
            return False
        self._cancellations += 1
        if self._waiting is None or not self._waiting.cancel(msg=msg):
            self._is_cancelled = True
        return True

    def done(self) -> bool:
        """Like ``Task.done``: whether the coroutine has ended."""
        return self.response_complete

    def cancelling(self) -> int:
        """Like ``Task.cancelling``: number of pending cancellation requests."""
        return self._cancellations

    def uncancel(self) -> int:
        """Like ``Task.uncancel``: remove one cancellation request and return how many remain."""
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
                # As in a task: an awaited future yields itself and, when it is done and resumed, returns its result.
                waiting = answer.send(None)
        except StopIteration as end:
            waiting, reply, is_done = None, end.value, True
        except (ClientLeft, asyncio.CancelledError):
            waiting, reply, is_done = None, None, True
        else:
            is_done = False
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]
        if is_done:
            self._connection.replied(self, reply)
        elif waiting is None:  # ``sleep(0)``: let other callbacks run
            loop.call_soon(self._step)
        else:
            waiting._asyncio_future_blocking = False
            waiting.add_done_callback(self._step)
            self._waiting = waiting
            if self._is_cancelled and waiting.cancel():
                self._is_cancelled = False
