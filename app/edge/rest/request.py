"""An inference request over HTTP, and the meaning of its headers for the body."""

import re
from dataclasses import dataclass, field

from app.edge.call import Call
from app.edge.entry.door import Visit
from app.edge.respond import Header, Receive, Send
from app.errors import InvalidInput

_MOST_DIGITS = 40
_NUMBER = re.compile(rb"-?[0-9]{1,%d}" % _MOST_DIGITS)


@dataclass(slots=True, kw_only=True)
class HttpRequest(Call):
    """An inference request over HTTP.

    Attributes:
        headers: names in lower case.
        query: after the question mark.
        visit: the request as the door sees it.
        body: the whole body, as sent; None if it must still be read from ``receive``.
        receive: ASGI; also reports that the client left. None if the caller cancels the answer itself in that case.
        send: ASGI, for streamed replies.
        content_type, content_encoding, accept_encoding: as sent, in lower case where case means nothing.
        content_length: bytes of the body; None if the head does not state it.
        json_length: bytes of the JSON in front of binary tensors; None without binary tensors.
    """

    headers: list[Header]
    query: bytes
    visit: Visit
    body: bytes | None = None
    receive: Receive | None = None
    send: Send | None = None
    content_type: str = field(init=False, default="")
    content_encoding: str = field(init=False, default="")
    accept_encoding: str = field(init=False, default="")
    content_length: int | None = field(init=False, default=None)
    json_length: int | None = field(init=False, default=None)
    _has_read_headers: bool = field(init=False, default=False)

    @property
    def is_whole(self) -> bool:
        """See ``Call``."""
        return self.body is not None

    def read_headers(self) -> None:
        """Parse the headers that describe the body.

        Raises:
            InvalidInput: Content-Length or Inference-Header-Content-Length is not a whole number.
        """
        if self._has_read_headers:
            return
        for name, value in self.headers:
            if name == b"content-type":
                self.content_type = value.decode("latin-1")
            elif name == b"content-length":
                if self.body is None or len(value) > _MOST_DIGITS:  # otherwise the parser has checked it
                    self.content_length = _whole_number(value, "Content-Length")
            elif name == b"content-encoding":
                self.content_encoding = value.decode("latin-1").strip().lower()
            elif name == b"accept-encoding":
                self.accept_encoding = value.decode("latin-1").lower()
            elif name == b"inference-header-content-length":
                self.json_length = _whole_number(value, "Inference-Header-Content-Length")
        self._has_read_headers = True

    @property
    def may_state_options(self) -> bool:
        """Whether it may state its own priority or timeout: the Open Inference Protocol puts them deep in its JSON."""
        body = self.body
        return self.route.api == "v2" and (body is None or b'"priority"' in body or b'"timeout"' in body)


def _whole_number(value: bytes, name: str) -> int:
    """A byte count from a header. Python's ``int`` would also accept ``1_000`` and ``+1``."""
    if not _NUMBER.fullmatch(value):
        raise InvalidInput(f"Unable to parse {name}, got: {value.decode('latin-1')}")
    return int(value)
