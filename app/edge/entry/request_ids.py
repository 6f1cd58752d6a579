"""The name of one request, which its reply, its log lines and the access log share.

A client's own ``X-Request-ID`` is taken over if it is short and printable; else one is made: a random prefix of this
process and a counter. It is in no error body: bodies are compared, cached and shown to people, headers are not.
"""

import itertools
import re
import secrets

HEADER = b"x-request-id"
_VALID = re.compile(rb"[\x20-\x7e]{1,128}").fullmatch


class RequestIds:
    """Names requests."""

    __slots__ = ("_numbers", "_prefix")

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6).encode()
        self._numbers = itertools.count(1)

    def name(self, given: bytes | None) -> bytes:
        """The given one if it is 1 to 128 printable ASCII characters, else a new one."""
        if given is not None and _VALID(given):
            return given
        return b"%b-%x" % (self._prefix, next(self._numbers))
