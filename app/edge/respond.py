"""Replies: the one table from error to status code, and the functions that write bodies."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.batching.work import Timings
from app.errors import (
    AlreadyKnown,
    BackendDown,
    BackendFailed,
    DeadlineExceeded,
    DeadlineOutOfReach,
    Forbidden,
    InvalidInput,
    NotFound,
    QueueFull,
    RateExceeded,
    ServingError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
    VersionRefused,
    shortened,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# A smaller reply fits one packet without compression.
COMPRESS_FROM_BYTES = 1_024

# The first class that matches decides, so subclasses are listed before their base.
STATUS: tuple[tuple[type[ServingError], int], ...] = (
    (TooLarge, 413),
    (InvalidInput, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (AlreadyKnown, 409),
    (QueueFull, 429),
    (DeadlineOutOfReach, 429),
    (RateExceeded, 429),
    (Unavailable, 503),
    (DeadlineExceeded, 504),
    (Unsupported, 501),
    (BackendDown, 503),
    (BackendFailed, 500),
    (VersionRefused, 400),  # as in Triton for a failed load
)

JSON: Header = (b"content-type", b"application/json")
PNG: Header = (b"content-type", b"image/png")


@dataclass(slots=True)
class Reply:
    """Status, body and headers of one answer."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = (JSON,)


def status_of(error: ServingError) -> int:
    """HTTP status code of an error."""
    return next((code for kind, code in STATUS if isinstance(error, kind)), 500)


def is_fault(error: ServingError) -> bool:
    """Whether an error is a server fault, which the log records as such; clients or load cause all others."""
    return status_of(error) == 500


def error_reply(error: ServingError) -> Reply:
    """``{"error": message}`` with the error's status, and Retry-After if a retry can succeed."""
    headers: tuple[Header, ...] = (JSON,)
    if error.retry_after_s is not None:
        headers = (JSON, (b"retry-after", str(error.retry_after_s).encode()))
    elif isinstance(error, Unauthenticated):
        headers = (JSON, (b"www-authenticate", b"Bearer"))
    return Reply(status_of(error), error_body(error.message), headers)


def error_body(message: str) -> bytes:
    """The standard form of errors; never raises, with any text in the message."""
    # Python strings may contain half of a surrogate pair; JSON may not.
    return orjson.dumps({"error": shortened(message).encode("utf-8", "backslashreplace").decode("utf-8")})


def server_timing(timings: Timings) -> Header:
    """Seconds per stage as the Server-Timing header, in milliseconds. Source: W3C Server Timing."""
    value = b"read;dur=%.3f, decode;dur=%.3f, queue;dur=%.3f, compute;dur=%.3f, encode;dur=%.3f" % (
        timings.read * 1e3,
        timings.decode * 1e3,
        timings.queue * 1e3,
        timings.compute * 1e3,
        timings.encode * 1e3,
    )
    return (b"server-timing", value)


def wrong_verb(allowed: str) -> Reply:
    """405 with the verb that the path requires."""
    return Reply(405, error_body(f"Method Not Allowed; use {allowed}"), (JSON, (b"allow", allowed.encode())))


def malformed(method: str, path: str, rule: str) -> str:
    """TensorFlow Serving's message for a path below /v1 that is not a route, and the rule."""
    return f"Malformed request: {method} {path}; {rule}"


async def send_reply(reply: Reply, send: Send) -> None:
    """Write a reply that is sent in one piece."""
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
