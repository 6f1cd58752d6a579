"""A connection that answers plain requests together with those of other connections.

The head of such a request is one of those that were parsed before, so the parser does not see it: a look-up is enough.
"""

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.edge.connection.cycle import ANSWERED
from app.edge.connection.direct_answer import DirectAnswer
from app.edge.connection.known_heads import MOST_BODY_BYTES, KnownHead, read_head
from app.edge.connection.plain_request import PlainRequest
from app.edge.connection.protocol import InferenceProtocol
from app.edge.connection.rules import Phase
from app.edge.connection.turns import END_OF_HEAD
from app.edge.respond import Header, Reply
from app.edge.rest.request import HttpRequest
from app.errors import Overloaded

if TYPE_CHECKING:
    from app.loaded import LoadedModel


log = logging.getLogger("atelier.edge")

FAREWELL_S = 0.09
"""At the shutdown, an idle connection stays open for so long: a request that its client sends meanwhile is answered,
and told that it is the last. uvicorn waits for 0.1 s in any case."""


class Awaited(NamedTuple):
    """A known head whose body has not arrived.

    Attributes:
        head: as it was read.
        known: what it says.
        length: of the body.
    """

    head: bytes
    known: KnownHead
    length: int


class JointProtocol(InferenceProtocol):
    """A connection that answers plain requests together with those of others: the class that the server uses."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._registry = self.config.app.registry  # type: ignore[union-attr]
        self._heads = self._connections.heads
        self._most_body_bytes = min(MOST_BODY_BYTES, self._limits.body_limit_bytes)
        # The packet whose first byte is that of the message being received, for its head to be learned.
        self._packet = self._next_packet = b""
        self._awaited: Awaited | None = None
        # Of the request before, which the next one nearly always has too.
        self._known: KnownHead | None = None

    def connection_made(self, transport: Any) -> None:
        """See ``GuardedProtocol``."""
        super().connection_made(transport)
        self._dispatch.arrivals.note()

    def _read(self, data: bytes) -> None:
        """Answer a plain request with a known head, or parse the bytes."""
        if self._awaited is not None:
            awaited = self._end_awaiting()
            if not self._is_deaf and not self._take_plain(awaited.known, awaited.length, data, is_late=True):
                self._parse_from(awaited.head + data, began=self._began)
        elif self._phase is not Phase.IDLE and self._phase is not Phase.NEW:
            super()._read(data)
        elif not self._take_known(data):
            self._next_packet = data
            super()._read(data)
            self._next_packet = b""

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._packet, self._next_packet = self._next_packet, b""

    def _take_known(self, data: bytes) -> bool:
        """Answer the bytes, if they are a plain request with a known head; of a head alone, await the body."""
        known = self._known
        if known is not None:
            if (body := known.body_of(data)) is not None:
                self._began = self._unparsed_since or time.perf_counter()
                if self._take_plain(known, len(body), body, is_late=self._unparsed_since is not None):
                    return True
            self._known = None  # its forms may be those of a version that is unloaded
        end = data.find(END_OF_HEAD)
        if end < 0:
            return False
        end += len(END_OF_HEAD)
        head = read_head(data[:end])
        known = None if head is None else self._heads.get(head)
        if head is None or known is None:
            return False
        self._began = self._unparsed_since or time.perf_counter()
        if end < len(data):
            if not self._take_plain(known, head.length, data[end:], is_late=self._unparsed_since is not None):
                return False
            self._known = known
            return True
        model = known.model()
        if self._is_deaf or not self._is_free() or model is None or model.admission.rows:
            return False  # under load, the head alone may decide that the request is refused
        self._awaited = Awaited(data, known, head.length)
        self._phase, self._since = Phase.HEAD, self.loop.time()
        return True

    def _take_plain(self, known: KnownHead, length: int, body: bytes, *, is_late: bool) -> bool:
        """Answer a request together with others of its form, if it is plain.

        Args:
            known: its head.
            length: what the head says of its body.
            body: what follows the head.
            is_late: part of it waited for a turn, or the body came after its head.

        Returns:
            Whether the request is answered, or will be.
        """
        route = known.route
        if len(body) != length or length > self._most_body_bytes or self._is_deaf or not self._is_free():
            return False
        model: LoadedModel | None = self._registry.only(route.name)
        if model is None or known.model() is not model:
            return False
        tracer = self._dispatch.tracer
        if tracer is not None and tracer.chooses():
            return False
        for form in known.forms:
            if (rows := form.rows(body)) is not None:
                break
        else:
            return False
        if (model.admission.rows or is_late) and (reply := self._dispatch.refusals.of(route, self._began)) is not None:
            headers = self._door.visit(known.headers(length), self._peer).headers
            self._answer_early(reply, headers, keep_alive=not known.is_last)
            self._phase, self._since = Phase.IDLE, self.loop.time()
            if known.is_last or self._is_last:
                self._is_last = self._is_deaf = True
                self._linger()
            return True
        try:
            self._connections.bodies.take(len(body))
        except Overloaded:
            return False
        self._held_bytes += len(body)
        self.headers = []  # of the message before, which a refusal of what follows must not use
        self._phase, self._since = Phase.ANSWER, self.loop.time()
        if known.is_last:
            self._is_last = self._is_deaf = True  # the following bytes are not parsed as a request
        self.cycle = self._running = plain = PlainRequest(self, known, body, self._began)  # type: ignore[assignment]
        if is_late:
            plain.read_s = time.perf_counter() - self._began
        self._dispatch.joining.add(plain, rows, form, model, route)
        return True

    def _stop_awaiting(self) -> None:
        """Have the parser wait for the body, which did not follow its head at once."""
        if self._awaited is not None:
            awaited = self._end_awaiting()
            if not self._is_deaf:
                self._parse_from(awaited.head, began=self._began)

    def _end_awaiting(self) -> Awaited:
        """The head whose body was awaited; the connection is as it was before that head."""
        assert self._awaited is not None
        awaited, self._awaited = self._awaited, None
        if not self._is_deaf:
            self._phase = Phase.IDLE
        return awaited

    def _parse_from(self, data: bytes, *, began: float) -> None:
        """Parse bytes of a request whose first byte arrived then."""
        self._unparsed_since = began
        super()._read(data)
        self._unparsed_since = None

    def eof_received(self) -> bool:  # type: ignore[override]
        """Called when the client has closed its stream."""
        self._stop_awaiting()
        return super().eof_received()

    def end_if_overdue(self, now: float) -> None:
        """See ``GuardedProtocol``."""
        self._stop_awaiting()
        super().end_if_overdue(now)

    def shutdown(self) -> None:
        """Close the connection after its request; an idle one after the request that may be on its way to it."""
        self._stop_awaiting()
        is_idle = (self._phase is Phase.IDLE or self._phase is Phase.NEW) and not self._unparsed
        if is_idle and not self._is_last:
            self._is_last = True
            self.loop.call_later(FAREWELL_S, super().shutdown)
        else:
            super().shutdown()

    def head_of_reply(self, headers: tuple[Header, ...]) -> bytes:
        """See ``plain_request.Connection``."""
        lines = [b"%b: %b\r\n" % each for each in (*self.server_state.default_headers, *headers)]
        return b"".join((STATUS_LINE[200], *lines))

    def reply_plainly(self, plain: PlainRequest, head: bytes, body: bytes) -> None:
        """See ``plain_request.Connection``."""
        transport = self.transport
        self._running = None
        if transport.is_closing():
            return
        end = b"" if plain.keep_alive and not self._is_last else b"connection: close\r\n"
        transport.write(
            b"%bx-request-id: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (head, self._door.ids.new(), len(body), end, body)
        )
        if not plain.keep_alive:
            transport.close()
        if self._phase is Phase.ANSWER and not (
            self.pipeline or self._unparsed or self._refusal or self._is_last or self.flow.read_paused
        ):  # nearly always: the same as below, for a connection on which nothing else waits
            self.server_state.total_requests += 1
            self.cycle = ANSWERED  # type: ignore[assignment]  # an idle connection keeps no body and no version
            self._release()
            self._phase, self._since = Phase.IDLE, self.loop.time()
        else:
            self._leave_cycle(plain)
            self.on_response_complete()

    def refuse_plainly(self, plain: PlainRequest, reply: Reply) -> str:
        """See ``plain_request.Connection``."""
        self._running = None
        self._leave_cycle(plain)
        visit = self._door.visit(plain.headers, self._peer)
        request_id: str = visit.request_id.decode()
        if self.transport.is_closing():
            return request_id
        self._write(reply, visit.headers, keep_alive=plain.keep_alive)
        if not plain.keep_alive:
            self.transport.close()
        self.on_response_complete()
        return request_id

    def answer_alone(self, plain: PlainRequest) -> None:
        """See ``plain_request.Connection``."""
        known, headers = plain.known, plain.headers
        visit = self._door.visit(headers, self._peer)
        visit.is_admitted = True
        request = HttpRequest(
            route=known.route,
            began=plain.began,
            headers=headers,
            query=known.query,
            visit=visit,
            body=plain.body,
        )
        answer = DirectAnswer(self, request, keep_alive=plain.keep_alive)
        self._running = answer
        if self.cycle is plain:  # type: ignore[comparison-overlap]  # otherwise the next request has arrived
            self.cycle = answer  # type: ignore[assignment]
        answer.begin(self._dispatch.answer(request))

    def _complete_request(self) -> None:
        """The request is complete. Its head may be learned if it was one packet, or a packet before the body."""
        packet, self._packet = self._packet, b""
        answer = self._arriving
        if answer is not None and packet.startswith(b"POST /") and (end := packet.find(END_OF_HEAD)) > 0:
            end += len(END_OF_HEAD)
            body = b"".join(answer.parts)
            if packet[end:] in {b"", body} and body and self._length == len(body) and not self._codings:
                answer.head = packet[:end]
        super()._complete_request()

    def replied(self, answer: DirectAnswer, reply: Reply | None) -> None:
        """See ``InferenceProtocol``. The head of a request that was answered may be that of many."""
        super().replied(answer, reply)
        request = answer.request
        if not answer.head or reply is None or b"content-encoding" in dict(reply.headers):
            return
        if reply.status == 200 and (answer.keep_alive or answer.is_last):
            route, head = request.route, read_head(answer.head)
            if route.version is not None or route.label is not None or not self._door.may_be_remembered(request.visit):
                return
            model = request.model
            if model is not None and model is self._registry.only(route.name) and head is not None:
                try:
                    self._heads.learn(head, request, model, reply_bytes=len(reply.body), is_last=answer.is_last)
                except Exception:
                    log.exception("the head of a request to model %s cannot be remembered", route.name)
