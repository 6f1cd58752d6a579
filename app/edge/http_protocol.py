"""uvicorn's HTTP protocol with a short way for inference requests.

A small request goes from the parser to ``Dispatch.answer`` and its reply back to the socket without an ASGI scope, a
task, events and messages, which cost more than all that Atelier does for it. Everything else, such as a large body or a
second request before the first is answered, takes uvicorn's own way to the same code.
"""

from collections.abc import Coroutine
from typing import Any

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.edge.incoming import Incoming
from app.edge.respond import Reply
from app.edge.routes import match_target


class InferenceProtocol(HttpToolsProtocol):
    """One connection to an ``Atelier`` application."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._dispatch = self.config.app.dispatch  # type: ignore[union-attr]
        self._arriving: DirectAnswer | None = None
        self._running: DirectAnswer | None = None
        self._idle_since: float | None = None

    def on_message_begin(self) -> None:
        """A request begins; its scope is made when it turns out to need one."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Choose the way of the request."""
        if (found := match_target(self.url)) is not None and found[0].is_inference and self._is_plain():
            incoming = Incoming(found[0], self.headers, found[1], b"")
            self._arriving = DirectAnswer(self, incoming, keep_alive=self.parser.should_keep_alive())
            self.cycle = self._arriving  # type: ignore[assignment]
        else:
            self._hand_on()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._arriving is None:
            super().on_body(body)
            return
        incoming = self._arriving.incoming
        incoming.body = incoming.body + body if incoming.body else body
        if len(incoming.body) > HIGH_WATER_LIMIT:
            self._arriving = None
            self.cycle.response_complete = True  # of the answer that is not to be
            self._hand_on()
            super().on_body(incoming.body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._arriving is None:
            super().on_message_complete()
            return
        self._running, self._arriving = self._arriving, None
        self._running.begin(self._dispatch.answer(self._running.incoming))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits for the answer any more."""
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        if self._running is not None:
            self._running.cancel()
        # It holds this connection and the body: together they would wait for a collection of cycles.
        self._arriving = None
        self.cycle = None  # type: ignore[assignment]

    def replied(self, answer: "DirectAnswer", reply: Reply | None) -> None:
        """Write the reply and go on with the next request."""
        self._running = None
        if self.transport.is_closing():
            return
        if reply is None:  # the service ends its connections
            self.transport.close()
            return
        parts = [STATUS_LINE[reply.status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in reply.headers:
            parts += (name, b": ", value, b"\r\n")
        end = b"\r\n" if answer.keep_alive else b"connection: close\r\n\r\n"
        parts += (b"content-length: %d\r\n" % len(reply.body), end, reply.body)
        self.transport.write(b"".join(parts))
        if not answer.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """Begin the next request if it is here already; else close the connection unless one comes soon."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def _is_plain(self) -> bool:
        """Whether the head asks for nothing that only uvicorn's own way can do, and no other request is under way."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and not self.flow.write_paused
        )

    def _hand_on(self) -> None:
        """Let uvicorn make a scope of the head and call the application."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list that the scope holds
        super().on_headers_complete()

    def _unset_keepalive_if_required(self) -> None:
        """Data has come in. The timer goes on: a new one for each request costs more than one that looks again."""
        self._idle_since = None

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self._close_if_idle)

    def _close_if_idle(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None or self.transport.is_closing():
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_again_in(left)
        else:
            self.transport.close()


class DirectAnswer:
    """Runs the coroutine of one answer, at once until it first waits and then from one wait to the next.

    To uvicorn's protocol it is the cycle of a request.

    Attributes:
        incoming: the request.
        keep_alive: whether the connection stays open after the reply.
        response_complete, disconnected: as in uvicorn's cycles.
    """

    __slots__ = ("_answer", "_connection", "_waiting", "disconnected", "incoming", "keep_alive", "response_complete")

    def __init__(self, connection: InferenceProtocol, incoming: Incoming, *, keep_alive: bool) -> None:
        self.incoming = incoming
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self._connection = connection
        self._answer: Coroutine[Any, None, Reply | None] | None = None
        self._waiting: Any = None

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

    def cancel(self) -> None:
        """The client left: what the answer waits for is no longer wanted."""
        if self._waiting is not None:
            self._waiting.cancel()

    def _step(self, _: object = None) -> None:
        assert self._answer is not None
        try:
            # What a task does: a future that is awaited yields itself and, sent to when it is done, has its result.
            waiting = self._answer.send(None)
        except StopIteration as end:
            self.response_complete = True
            self._connection.replied(self, end.value)
        else:
            waiting._asyncio_future_blocking = False
            waiting.add_done_callback(self._step)
            self._waiting = waiting
