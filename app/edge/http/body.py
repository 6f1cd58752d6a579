"""Reading a request body under a limit."""

from dataclasses import dataclass

from app.edge.answering import ClientLeft
from app.edge.respond import Receive
from app.errors import TooLarge


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Body limits from the settings; the second one is for JSON that only the slow parser reads."""

    body_limit_bytes: int
    json_fallback_limit_bytes: int


async def read_body(receive: Receive, *, content_length: int | None, limit_bytes: int) -> bytes:
    """The whole body.

    Args:
        receive: ASGI; provides the parts.
        content_length: as announced; a body that is announced as too large is refused unread.
        limit_bytes: most bytes accepted.

    Raises:
        TooLarge: announced or sent more.
        ClientLeft: the connection closed first.
    """
    if content_length is not None and content_length > limit_bytes:
        raise too_large(content_length, limit_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit_bytes:
            raise too_large(len(body), limit_bytes)
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


def too_large(size: int, limit_bytes: int) -> TooLarge:
    """The refusal of a body of ``size`` bytes."""
    return TooLarge(f"body of {size} bytes; at most {limit_bytes} are accepted")
