"""Parses HTTP in parts: unambiguous framing, heads and bodies of limited size.

uvicorn's protocol creates scopes and answers. This module refuses what uvicorn would accept: heads and bodies of
unlimited size, two framings of one request, a change of protocol.
"""

import logging
import time
from typing import Any

import httptools

from app.edge.connection.receiving import ReceivingProtocol
from app.edge.connection.rules import Phase, head_refusal, head_too_large, origin_form
from app.edge.connection.turns import TASK_S
from app.edge.respond import Reply, error_body

log = logging.getLogger("atelier.edge")

# Largest ratio of a chunked body with its framing to the same body without it; the head's limit is added.
MOST_FRAMING = 2


class ParsingProtocol(ReceivingProtocol):
    """A connection that parses received bytes under limits."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # The message being received: when it started, its parsed head, and its bytes so far.
        self._began = 0.0
        self._hosts = self._length = 0
        self._codings = b""
        self._raw_bytes = 0

    def _parse(self, data: bytes) -> None:
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
            if self._is_deaf:  # one of our callbacks has already refused it
                return
            if isinstance(error, httptools.HttpParserCallbackError):
                if not isinstance(error.__context__, httptools.HttpParserError):  # not the client's fault
                    log.error("parsing a request failed", exc_info=error.__context__ or error)
                    self._refuse_message(Reply(500, error_body("internal error; see the service's log")))
                    return
                error = error.__context__
            self._refuse_message(Reply(400, error_body(f"not valid HTTP: {error}")))

    def _start_over(self, rest: bytes) -> None:
        """Read a request that offers another protocol as if it did not: with its own framing, and once.

        The parser stops after such a head. A new parser gets the parsed head without the offer.
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
        """A request starts. Its scope is created only if it is needed."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._began = self._unparsed_since or time.perf_counter()
        self._hosts = self._length = 0
        self._codings = b""
        self._phase, self._since = Phase.HEAD, self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a field of a chunked body's trailer; trailers are ignored."""
        if self._phase is Phase.BODY:
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            self._length = int(value.lstrip(b"0") or b"0")  # the parser has checked that it fits 64 bits
        elif name == b"transfer-encoding":
            self._codings += value + b","
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete: refuse it, or choose the path of the request."""
        if self._is_deaf:
            return
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            return  # the parser stops here, see ``_start_over``
        self._check_head()
        self._phase, self._since = Phase.BODY, self.loop.time()
        self._raw_bytes = self._body_bytes = 0
        self._take_request()

    def _take_request(self) -> None:
        """Let uvicorn create the scope and call the application."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.scope["state"]["began_at"] = self._began
        self.url, self.expect_100_continue = url, expects
        self.headers += headers  # the list in the scope
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._connections.turns.spend(TASK_S)
        super()._start_asgi_task(cycle, app)

    def _check_head(self) -> None:
        """Refuse a head that is too large or ambiguous. Raises, which stops the parser."""
        limits = self._limits
        size = self._raw_bytes
        if size > limits.head_limit_bytes:  # the received bytes may be more than the head
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
        if self.url[:1] != b"/":
            authority, self.url = origin_form(self.url)
            if authority is not None:
                others = [(name, value) for name, value in self.headers if name != b"host"]
                self.headers = [*others, (b"host", authority)]

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._is_deaf:
            return
        if self.cycle.response_complete:  # already answered without the body
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
        if self._is_deaf or self._phase is Phase.HEAD:  # a head that offers another protocol was not accepted
            return
        answered = self.cycle.response_complete
        self._phase, self._since = Phase.IDLE if answered else Phase.ANSWER, self.loop.time()
        self._raw_bytes = 0
        if not self.parser.should_keep_alive():
            self._is_last = self._is_deaf = True  # the following bytes are not parsed as a request
        if not answered:
            self._complete_request()
        elif self._is_last:
            self._linger()

    def _complete_request(self) -> None:
        super().on_message_complete()
