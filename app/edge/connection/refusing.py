"""The end of a request on its connection: the order of replies, refusals and the close after one, bytes of bodies."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.control.peer import NEAR
from app.edge.connection.rules import Phase
from app.edge.respond import Header, Reply, error_body, error_reply
from app.errors import Overloaded

if TYPE_CHECKING:
    from app.edge.connection.limits import Connections


class Flow(FlowControl):
    """Pauses and resumes reading; does nothing on a connection that is being closed."""

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        if not self._transport.is_closing():
            super().pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again."""
        if self.read_paused and not self._transport.is_closing():
            super().resume_reading()


class RefusingProtocol(HttpToolsProtocol):
    """A connection that answers in order and refuses a request without resetting the earlier replies."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._connections: Connections = self.config.app.connections  # type: ignore[union-attr]
        self._limits = self._connections.limits
        self._peer = NEAR
        self._phase = Phase.NEW
        self._since = self.loop.time()
        self._body_bytes = 0  # of the message being received, so far
        self._held_bytes = 0  # taken by this connection from the budget for bodies
        # No more bytes are read: the last request has arrived, or one that cannot be parsed.
        self._is_deaf = False
        self._is_last = False
        # A request is answered, and the one behind it waits for a turn.
        self._is_due = False
        # Sent after the answers to earlier requests.
        self._refusal: Reply | None = None

    @abstractmethod
    def _wait(self) -> None:
        """Continue in one of the next turns."""

    @abstractmethod
    def _continue(self) -> None:
        """Parse the bytes after a request that is answered now."""

    def on_response_complete(self) -> None:
        """Continue, in a separate turn if the next request has already arrived."""
        self.server_state.total_requests += 1
        if self.pipeline:
            if not self.transport.is_closing():
                self._is_due = True
                self._wait()
            return
        self._release()
        if not self.transport.is_closing():
            self._proceed()

    def _proceed(self) -> None:
        """Start the next request if it has arrived, or send the refusal of what followed the last request."""
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
            return
        elif self._is_last:
            self.transport.close()
            return
        elif self._phase is Phase.ANSWER:
            self._phase, self._since = Phase.IDLE, self.loop.time()
        self._continue()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's method for refusals; writes the standard form of errors."""
        self._refuse_message(Reply(400, error_body(msg)))

    def _stop(self, reply: Reply) -> None:
        """Refuse from within a callback of the parser, or after it."""
        self._refuse_message(reply)
        raise httptools.HttpParserError("refused")

    def _refuse_message(self, reply: Reply) -> None:
        """Refuse the message being received, after the earlier ones are answered, and read nothing more."""
        if self._phase is Phase.BODY and self.cycle is not None and self.cycle.response_complete:
            # Its head was already answered: the client would take a second reply as that to its next request.
            self._is_deaf = True
            self._linger()
            return
        if self._phase is Phase.BODY:
            self._forget_cycle()
        self._refuse(reply)

    def _forget_cycle(self) -> None:
        """Tell the application that the rest of the current body will not arrive; none of its output is sent."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            return
        cycle.disconnected = True
        cycle.message_event.set()
        cycle.response_complete = True

    def _refuse(self, reply: Reply) -> None:
        self._is_deaf = True
        if self.pipeline or not (self.cycle is None or self.cycle.response_complete):
            self._refusal = reply
        else:
            self._send_refusal(reply)

    def _send_refusal(self, reply: Reply) -> None:
        self._refusal = None
        if self.transport.is_closing():
            return
        own = self.config.app.door.turned_away(self.headers or (), self._peer, reply.status)  # type: ignore[union-attr]
        self._write(reply, own, keep_alive=False)
        self._release()
        self._linger()

    def _write(self, reply: Reply, more: Sequence[Header] = (), *, keep_alive: bool) -> None:
        """Write a reply, with ``more`` headers, in one piece."""
        parts = [STATUS_LINE[reply.status]]
        for headers in (self.server_state.default_headers, reply.headers, more):
            for name, value in headers:
                parts += (name, b": ", value, b"\r\n")
        end = b"\r\n" if keep_alive and not self._is_last else b"connection: close\r\n\r\n"
        parts += (b"content-length: %d\r\n" % len(reply.body), end, reply.body)
        self.transport.write(b"".join(parts))

    def _linger(self) -> None:
        """Close the write side, and the connection once the client has closed its side or had time to.

        TLS closes both directions together, so the client gets only the time and recognizes the end by Content-Length.
        """
        self._phase, self._since = Phase.LINGER, self.loop.time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _release(self) -> None:
        if self._held_bytes:
            self._connections.bodies.release(self._held_bytes)
            self._held_bytes = 0

    def _hold(self, nbytes: int) -> None:
        """Count a part of the body against the budget for all bodies."""
        self._body_bytes += nbytes
        try:
            self._connections.bodies.take(nbytes)
        except Overloaded as error:
            self._stop(error_reply(error))
        self._held_bytes += nbytes
