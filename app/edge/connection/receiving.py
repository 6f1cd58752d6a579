"""Receives bytes and has them parsed in parts, in turns with all other connections."""

import time
from abc import abstractmethod
from typing import Any

from app.edge.connection.refusing import RefusingProtocol
from app.edge.connection.rules import Phase
from app.edge.connection.turns import END_OF_HEAD
from app.edge.respond import error_reply
from app.errors import Overloaded

# Received bytes are parsed in parts: of several requests in one packet, one is parsed before the first is answered.
_PART_BYTES, _BODY_PART_BYTES, _LEAST_CHUNK_BYTES = 4_096, 65_536, 256
# Bytes of heads and of a chunked body that are parsed in one turn; each head or chunk costs some microseconds.
_HEADS_AT_ONCE_BYTES, _CHUNKS_AT_ONCE_BYTES = 4_096, 16_384


class ReceivingProtocol(RefusingProtocol):
    """A connection that keeps bytes while it cannot parse them."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # Bytes that wait for a turn, or for the answer to an earlier request, and count as a body; reading is paused.
        self._unparsed = b""
        self._waits = False
        self._unparsed_since: float | None = None
        # The client closed its stream, but some bytes are not parsed yet.
        self._has_ended = False
        # The service shuts down, and the bytes that have arrived are read before the connection closes.
        self._shuts_down = False
        # The head of the message being received.
        self._length = 0
        self._codings = b""

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, now or in one of the next turns."""
        if self._is_deaf:
            return
        if self._unparsed:  # parsing is in progress, or the application requested more of the body
            self._keep(data)
            self.flow.pause_reading()
        elif self._connections.turns.must_wait(data, self.loop):
            self._unparsed_since = time.perf_counter()
            self._keep(data)
            self._wait()
        else:
            self._read(data)

    def _keep(self, data: bytes) -> None:
        """Keep bytes until they can be parsed, or refuse them if all connections keep too many."""
        try:
            self._connections.bodies.take(len(data))
        except Overloaded as error:
            self._refuse_message(error_reply(error))
        else:
            self._unparsed += data

    def _take_unparsed(self) -> bytes:
        unparsed, self._unparsed = self._unparsed, b""
        self._connections.bodies.release(len(unparsed))
        return unparsed

    def _wait(self) -> None:
        if not self._waits:
            self._waits = True
            self._connections.turns.wait(self, self._unparsed, self.loop)

    def _read(self, data: bytes) -> None:
        """Parse received bytes in parts, until a request waits for an earlier one, or this turn has parsed enough."""
        if len(data) <= _PART_BYTES and self._phase is Phase.IDLE and data.find(END_OF_HEAD) == data.rfind(END_OF_HEAD):
            self._parse(data)  # one request at most, as nearly always
            return
        at = 0
        while at < len(data) and not self._is_deaf:
            size = 0 if self.pipeline else self._part_bytes(data, at)
            if size == 0:
                self._keep(data[at:])
                self.flow.pause_reading()
                if not self.pipeline:
                    self._wait()
                return
            self._parse(data[at : at + size])
            at += size

    def _part_bytes(self, data: bytes, at: int) -> int:
        """How many bytes to parse next; 0: no more in this turn."""
        if self._phase is Phase.BODY:
            if not self._codings:
                return max(1, min(_BODY_PART_BYTES, self._length - self._body_bytes))
            return max(_head_bytes(data, at), _LEAST_CHUNK_BYTES) if at < _CHUNKS_AT_ONCE_BYTES else 0
        return _head_bytes(data, at) if at < _HEADS_AT_ONCE_BYTES else 0

    def _continue(self) -> None:
        """Parse what waited, in a separate turn: within the task of an answer, no other answer can run."""
        if self._unparsed:
            self._wait()
        elif self._has_ended or self.flow.read_paused:
            self._resume()

    def read_on(self) -> None:
        """Called in its turn: start the next request, or parse waiting bytes unless they follow a waiting request."""
        self._waits = False
        if self.transport.is_closing():
            return
        if self._is_due:
            self._is_due = False
            self._proceed()
        elif not self.pipeline:
            if self._unparsed:
                self._read(self._take_unparsed())
                self._unparsed_since = None
            self._resume()
            if self._shuts_down and not self._unparsed:
                self.shutdown()

    def shutdown(self) -> None:
        """Close the connection, after the requests that have arrived."""
        if self._unparsed and not self._is_deaf:
            self._shuts_down = True
        else:
            super().shutdown()

    def _resume(self) -> None:
        """Read from the client again, unless a request waits; end the connection if the client has ended its stream."""
        if self._unparsed or self.pipeline or self.transport.is_closing():
            return
        if self._has_ended and not self._is_deaf:
            self._is_last = self._is_deaf = True
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()
        else:
            if self.flow.read_paused and self._phase is Phase.ANSWER:
                self._since = self.loop.time()  # the client may have ended its stream meanwhile, which is read only now
            self.flow.resume_reading()

    @abstractmethod
    def _parse(self, data: bytes) -> None:
        """Parse one part."""


def _head_bytes(data: bytes, at: int) -> int:
    """The size of a part that may contain heads: up to the end of one, if another may end in the same part."""
    end = data.find(END_OF_HEAD, at, at + _PART_BYTES)
    if end < 0 or data.find(END_OF_HEAD, end + 1, at + _PART_BYTES) < 0:
        return _PART_BYTES
    return end + len(END_OF_HEAD) - at
