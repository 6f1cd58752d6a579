"""Request ids, which the reply, the log lines and the access log of a request share.

A client's own ``X-Request-ID`` is used if it is short and printable. Otherwise an id is created: a random prefix of
this process and a counter. Error bodies do not contain it: bodies are compared, cached and shown to people, headers
are not.
"""

import itertools
import re
import secrets

HEADER = b"x-request-id"
_VALID = re.compile(rb"[\x20-\x7e]{1,128}").fullmatch


class RequestIds:
    """Creates request ids."""

    __slots__ = ("_numbers", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6).encode()
        self._numbers = itertools.count(1)

    def name(self, given: bytes | None) -> bytes:
        """The given id if it is 1 to 128 printable ASCII characters, otherwise a new one."""
        return given if given is not None and _VALID(given) else self.new()

    def new(self) -> bytes:
        """A new id."""
        return b"%b-%x" % (self._prefix, next(self._numbers))
