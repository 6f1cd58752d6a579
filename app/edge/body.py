"""Reading a request body under a limit, compressed or not."""

import zlib

from app.edge.respond import Receive
from app.errors import InvalidInput, TooLarge

_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class ClientLeft(Exception):
    """The connection closed before the body was complete."""


async def read_body(receive: Receive, *, content_length: int | None, limit_bytes: int) -> bytes:
    """The whole body.

    Args:
        receive: ASGI.
        content_length: as announced; a body announced too large is refused unread.
        limit_bytes: most bytes accepted.

    Raises:
        TooLarge: announced or sent more.
        ClientLeft: the connection closed first.
    """
    if content_length is not None and content_length > limit_bytes:
        raise TooLarge(f"body of {content_length} bytes; at most {limit_bytes} are accepted")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit_bytes:
            raise TooLarge(f"body of {len(body)} bytes; at most {limit_bytes} are accepted")
        return body
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise TooLarge(f"body of more than {limit_bytes} bytes; at most {limit_bytes} are accepted")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


def inflate(body: bytes, encoding: str, *, limit_bytes: int) -> bytes:
    """Undo ``Content-Encoding``.

    Args:
        body: as received.
        encoding: "gzip", "deflate", "identity" or empty.
        limit_bytes: most bytes after inflating; a bomb is stopped there.

    Raises:
        InvalidInput: another encoding, or a damaged stream.
        TooLarge: inflates beyond the limit.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in _WINDOW_BITS:
        raise InvalidInput(f"Content-Encoding {encoding!r} is not supported; send {', '.join(_WINDOW_BITS)} or none")
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = inflater.decompress(body, limit_bytes)
    except zlib.error as error:
        reason = str(error).rpartition(": ")[2]
        raise InvalidInput(f"body is not compressed as Content-Encoding says ({encoding}): {reason}") from error
    if inflater.unconsumed_tail:
        raise TooLarge(f"body inflates to more than {limit_bytes} bytes; at most {limit_bytes} are accepted")
    if not inflater.eof:
        raise InvalidInput(f"body ends before its {encoding} data does; send all of it")
    return plain
