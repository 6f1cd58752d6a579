"""One HTTP connection under limits: framing that is unambiguous, heads and bodies of bounded size and time.

uvicorn's protocol parses and answers; this one refuses what it would take: heads without end, bodies without end, two
framings of one request, a change of protocol.
"""

import logging
import time
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.control.peer import ADMIN_LISTENER, NEAR, peer_of
from app.edge.http.rules import Phase, head_refusal, head_too_large, is_overdue, origin_form, overdue_reply
from app.edge.respond import Reply, error_body, error_reply
from app.errors import Overloaded

if TYPE_CHECKING:
    from app.edge.http.limits import Connections

log = logging.getLogger("atelier.edge")

# An end of the client's stream this soon after its request means that it sends nothing more; a later one, that it left.
HALF_CLOSE_WITHIN_S = 0.1
# A chunked body as it comes may be so many times as long as without its framing, and a head's limit more.
MOST_FRAMING = 2
# What came is parsed in parts: of several requests in one packet few are understood before the first is answered.
_PART_BYTES, _BODY_PART_BYTES = 4_096, 65_536
# Of a chunked body, whose chunks cost some microseconds each, before others have their turn.
_CHUNKS_AT_ONCE_BYTES = 16_384


class _Flow(FlowControl):
    """Reading on and off; of a connection that is being closed neither means anything."""

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            super().pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            super().resume_reading()


class GuardedProtocol(HttpToolsProtocol):
    """One connection to an ``Atelier`` application."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._connections: Connections = self.config.app.connections  # type: ignore[union-attr]
        self._limits = self._connections.limits
        self._peer = NEAR
        self._phase = Phase.NEW
        self._since = self.loop.time()
        # Of the message that comes in: when it began, what its head says, and bytes: all so far, and those of its body.
        self._began = 0.0
        self._hosts = self._length = 0
        self._codings = b""
        self._raw_bytes = 0
        self._body_bytes = 0
        # Bytes that this connection holds of the room for bodies.
        self._held_bytes = 0
        # Nothing more is read: the last request has come, or one that cannot be understood.
        self._is_deaf = False
        self._is_last = False
        # Goes out once the answers to earlier requests have.
        self._refusal: Reply | None = None
        # What the client has not read of its replies: at the last look, and the most since it was last nothing.
        self._unsent_bytes = self._most_unsent_bytes = 0
        self._unsent_since = 0.0
        # Of that, what this connection holds of the room for unread replies.
        self._unread_bytes = 0
        # What came after a request that waits for the answer to an earlier one; nothing more is read meanwhile.
        self._unparsed = b""
        # The client has ended its stream after what is not parsed yet.
        self._has_ended = False

    # The connection

    def connection_made(self, transport: Any) -> None:
        """It is open."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._peer = peer_of(self.client, self.server, is_admin=ADMIN_LISTENER in self.app_state)
        self._connections.add(self, self.loop)
        if self._connections.is_full:
            most = self._limits.max_connections
            self._refuse(error_reply(Overloaded(f"{most} connections are open, as many as are allowed; try again")))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed: nobody waits for answers any more."""
        super().connection_lost(exc)
        self._connections.remove(self)
        self._unparsed = b""
        self._release()
        self._release_reply()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is answered: what is left is held for it, if there is room."""
        super().pause_writing()
        unread = self.transport.get_write_buffer_size()
        try:
            self._connections.unread.take(unread)
        except Overloaded:
            self.transport.abort()
        else:
            self._unread_bytes += unread

    def resume_writing(self) -> None:
        """The client has read nearly everything."""
        super().resume_writing()
        self._release_reply()

    def _release_reply(self) -> None:
        self._connections.unread.release(self._unread_bytes)
        self._unread_bytes = 0

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client sends nothing more; True keeps the connection open for the answer."""
        if self._unparsed and self.transport.can_write_eof():
            self._has_ended = True
            return True
        sent_with_request = self.loop.time() - self._since < HALF_CLOSE_WITHIN_S
        if self._phase is not Phase.ANSWER or not sent_with_request or not self.transport.can_write_eof():
            return False  # over TLS there is no way to close one side
        self._is_last = self._is_deaf = True
        return True

    def data_received(self, data: bytes) -> None:
        """Bytes from the client: parsed in parts, and no further than to a request that waits for an earlier one."""
        if self._unparsed:  # under way when reading was paused, or the application has asked for more of its body
            self._unparsed += data
            self.flow.pause_reading()
            return
        at = 0
        while at < len(data) and not self._is_deaf:
            is_body = self._phase is Phase.BODY
            if self.pipeline or (is_body and self._codings and at >= _CHUNKS_AT_ONCE_BYTES):
                self._unparsed = data[at:]
                self.flow.pause_reading()
                if not self.pipeline:  # others have their turn before more chunks
                    self.loop.call_soon(self._read_on)
                return
            size = _BODY_PART_BYTES if is_body and not self._codings else _PART_BYTES
            self._parse(data[at : at + size])
            at += size

    def _read_on(self) -> None:
        """Parse what waited for its turn, and read what comes then; not while a request waits for an earlier one."""
        if self.pipeline or self.transport.is_closing():
            return
        unparsed, self._unparsed = self._unparsed, b""
        if unparsed:
            self.data_received(unparsed)
        if self._unparsed:
            return
        if self._has_ended and not self._is_deaf:
            self._is_last = self._is_deaf = True
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()
        elif not self.pipeline:
            self.flow.resume_reading()

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._phase is Phase.IDLE or self._phase is Phase.NEW:
            self._phase, self._since, self._raw_bytes = Phase.HEAD, self.loop.time(), 0
        self._raw_bytes += len(data)
        self._feed(data)
        if self._is_deaf:
            return
        if self._phase is Phase.HEAD:
            if self._raw_bytes > self._limits.head_limit_bytes:
                self._refuse_message(head_too_large(self._limits))
        elif self._phase is Phase.BODY:
            framing = self._raw_bytes - len(data) - MOST_FRAMING * self._body_bytes
            if framing > self._limits.head_limit_bytes:
                self._refuse_message(Reply(431, error_body("chunk extensions and trailers are too large")))

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._is_deaf:
                self._start_over(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if self._is_deaf:  # a callback of ours has refused it already
                return
            if isinstance(error, httptools.HttpParserCallbackError):
                if not isinstance(error.__context__, httptools.HttpParserError):  # no mistake of the client's
                    log.error("a request could not be taken", exc_info=error.__context__ or error)
                    self._refuse_message(Reply(500, error_body("internal error; see the service's log")))
                    return
                error = error.__context__
            self._refuse_message(Reply(400, error_body(f"not valid HTTP: {error}")))

    def _start_over(self, rest: bytes) -> None:
        """Read a request that offers another protocol as if it did not: by its own framing, and once.

        The parser stops after such a head, so the head is given to a new one without the offer, as it was understood.
        """
        head = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name not in {b"upgrade", b"http2-settings"}:
                head.append(b"%b: %b\r\n" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"".join([*head, b"\r\n"]))
        if not self._is_deaf and rest:
            self._feed(rest)

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """A request begins; its scope is made when it turns out to need one."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._began = time.perf_counter()
        self._hosts = self._length = 0
        self._codings = b""
        self._phase, self._since = Phase.HEAD, self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a field of a chunked body's trailer, which means nothing here."""
        if self._phase is Phase.BODY:
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            self._length = int(value.lstrip(b"0") or b"0")  # which the parser found to be a number of 64 bits
        elif name == b"transfer-encoding":
            self._codings += value + b","
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete: refuse it, or choose the way of the request."""
        if self._is_deaf:
            return
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return  # the parser stops here, see ``_start_over``
        self._check_head()
        self._phase, self._since = Phase.BODY, self.loop.time()
        self._raw_bytes = self._body_bytes = 0
        self._take_request()

    def _take_request(self) -> None:
        """Let uvicorn make a scope of the head and call the application."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.scope["state"]["began_at"] = self._began
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list that the scope holds
        super().on_headers_complete()

    def _check_head(self) -> None:
        """Refuse a head that is too large or ambiguous; raises, so that the parser stops."""
        limits = self._limits
        size = self._raw_bytes
        if size > limits.head_limit_bytes:  # what has come may be more than the head
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > limits.head_limit_bytes or len(self.headers) > limits.max_headers:
            self._stop(head_too_large(limits))
        reply = head_refusal(
            method=self.parser.get_method(),
            version=self.parser.get_http_version(),
            hosts=self._hosts,
            length=self._length,
            codings=self._codings,
            limits=limits,
        )
        if reply is not None:
            self._stop(reply)
        authority, self.url = origin_form(self.url)
        if authority is not None:
            others = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers = [*others, (b"host", authority)]

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._is_deaf:
            return
        if self.cycle.response_complete:  # answered without it
            self._body_bytes += len(body)
            if self._body_bytes > self._limits.body_limit_bytes:
                self._is_deaf = True
                self._linger()
            return
        self._hold(len(body))
        self._take_body(body)

    def _take_body(self, body: bytes) -> None:
        super().on_body(body)

    def _hold(self, nbytes: int) -> None:
        """Count a part of the body in the room that all bodies share."""
        self._body_bytes += nbytes
        try:
            self._connections.bodies.take(nbytes)
        except Overloaded as error:
            self._stop(error_reply(error))
        self._held_bytes += nbytes

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._is_deaf or self._phase is Phase.HEAD:  # of a head that offers another protocol nothing was taken
            return
        answered = self.cycle.response_complete
        self._phase, self._since = Phase.IDLE if answered else Phase.ANSWER, self.loop.time()
        self._raw_bytes = 0
        if not self.parser.should_keep_alive():
            self._is_last = self._is_deaf = True  # what follows is not read as a request
        if not answered:
            self._complete_request()
        elif self._is_last:
            self._linger()

    def _complete_request(self) -> None:
        super().on_message_complete()

    # Answers and refusals

    def on_response_complete(self) -> None:
        """Begin the next request if it is here already, or send the refusal of what came after the last one."""
        self.server_state.total_requests += 1
        if not self.pipeline:
            self._release()
        if self.transport.is_closing():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
            return
        elif self._is_last:
            self.transport.close()
            return
        elif self._phase is Phase.ANSWER:
            self._phase, self._since = Phase.IDLE, self.loop.time()
        self._read_on()

    def send_400_response(self, msg: str) -> None:
        """uvicorn's way to refuse, in the one form of every error."""
        self._refuse_message(Reply(400, error_body(msg)))

    def _stop(self, reply: Reply) -> None:
        """Refuse from within a callback of the parser, or after it."""
        self._refuse_message(reply)
        raise httptools.HttpParserError("refused")

    def _refuse_message(self, reply: Reply) -> None:
        """Refuse the message that comes in, once the ones before it are answered, and read nothing more."""
        if self._phase is Phase.BODY and self.cycle is not None and self.cycle.response_complete:
            # It is answered already, by its head: a second reply would count as that to the next request.
            self._is_deaf = True
            self._linger()
            return
        if self._phase is Phase.BODY:
            self._forget_cycle()
        self._refuse(reply)

    def _forget_cycle(self) -> None:
        """Let the application know that the rest of the current body will not come; nothing of it goes out."""
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
        parts = [STATUS_LINE[reply.status]]
        own = self.config.app.door.turned_away(self.headers or (), self._peer, reply.status)  # type: ignore[union-attr]
        for name, value in (*self.server_state.default_headers, *reply.headers, *own):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"content-length: %d\r\nconnection: close\r\n\r\n" % len(reply.body), reply.body)
        self.transport.write(b"".join(parts))
        self._release()
        self._linger()

    def _linger(self) -> None:
        """Close our side, and the rest once the client has closed its own or had time to.

        Over TLS both sides close at once: there the client only gets the time, and sees the end by Content-Length.
        """
        self._phase, self._since = Phase.LINGER, self.loop.time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _release(self) -> None:
        self._connections.bodies.release(self._held_bytes)
        self._held_bytes = 0

    # Time

    def _unset_keepalive_if_required(self) -> None:
        """uvicorn's timer for idle connections is not used; the sweep sees to them."""

    def end_if_overdue(self, now: float) -> None:
        """Refuse or close what has taken too long. Called by the sweep."""
        if self._is_stuck(now):
            self.transport.abort()
        if self.transport.is_closing():
            return
        if self._phase is Phase.BODY and self.flow.read_paused:  # it is the application that does not read
            self._since = now - self._limits.body_timeout_s / 2
        waited = self._phase, now - self._since, self._body_bytes, self._limits
        if not is_overdue(*waited):
            return
        if (reply := overdue_reply(*waited)) is not None:
            self._refuse_message(reply)
        else:
            self.transport.close()

    def _is_stuck(self, now: float) -> bool:
        """Whether the client has read nothing of its reply for too long, or a large one too slowly."""
        unsent: int = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent > self._most_unsent_bytes:
            self._unsent_since = now
            self._unsent_bytes = self._most_unsent_bytes = unsent
            return False
        waited_s = now - self._unsent_since
        if unsent > HIGH_WATER_LIMIT:  # of one reply: nothing is added to it
            sent = self._most_unsent_bytes - unsent
            return bool(waited_s > self._limits.send_timeout_s + sent / self._limits.body_rate_bytes)
        if unsent < self._unsent_bytes:
            self._unsent_since = now
        self._unsent_bytes = unsent
        return bool(waited_s > self._limits.send_timeout_s)
