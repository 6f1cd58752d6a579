"""HTTP from bytes to requests, in parts: framing that is unambiguous, heads and bodies of bounded size.

uvicorn's protocol makes scopes and answers; what it would take is refused here: heads without end, bodies without end,
two framings of one request, a change of protocol.
"""

import logging
import time
from typing import Any

import httptools

from app.edge.connection.refusing import RefusingProtocol
from app.edge.connection.rules import Phase, head_refusal, head_too_large, origin_form
from app.edge.respond import Reply, error_body

log = logging.getLogger("atelier.edge")

# A chunked body as it comes may be so many times as long as without its framing, and a head's limit more.
MOST_FRAMING = 2
# What came is parsed in parts: of several requests in one packet few are understood before the first is answered.
_PART_BYTES, _BODY_PART_BYTES = 4_096, 65_536
# Of a chunked body, whose chunks cost some microseconds each, before others have their turn.
_CHUNKS_AT_ONCE_BYTES = 16_384


class ParsingProtocol(RefusingProtocol):
    """A connection that parses what comes under limits."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Of the message that comes in: when it began, what its head says, and its bytes so far.
        self._began = 0.0
        self._hosts = self._length = 0
        self._codings = b""
        self._raw_bytes = 0
        # What came after a request that waits for the answer to an earlier one; nothing more is read meanwhile.
        self._unparsed = b""
        # The client has ended its stream after what is not parsed yet.
        self._has_ended = False

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
