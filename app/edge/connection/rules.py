"""Rules for a connection, as functions without a connection: which heads to refuse, and which waits are too long."""

import re
from enum import Enum

from app.contract.files.regular import shown
from app.edge.connection.limits import HttpLimits
from app.edge.http.body import too_large
from app.edge.respond import Reply, error_body, error_reply

# Seconds for which the client may continue to send after a refusal. Closing immediately would reset the connection and
# lose the reply.
LINGER_S = 2.0
_END_OF_AUTHORITY = re.compile(rb"[/?#]")


class Phase(Enum):
    """The event that a connection waits for."""

    NEW = "its first byte"
    IDLE = "the next request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    ANSWER = "the answer"
    LINGER = "the client to close it"


def head_refusal(
    *, method: bytes, version: str, hosts: int, length: int, codings: bytes, limits: HttpLimits
) -> Reply | None:
    """The refusal of a head of allowed size; None if it is accepted.

    Args:
        method, version: of the request line.
        hosts: number of Host headers.
        length: Content-Length; 0 without the header.
        codings: of its Transfer-Encoding headers, joined by commas; empty without one.
        limits: on the body.

    Source: RFC 9112, sections 2.3, 3.2 and 6.1.
    """
    if version not in {"1.0", "1.1"}:
        return Reply(505, error_body(f"HTTP/{version} is not supported; use HTTP/1.1"))
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return Reply(400, error_body(f"the request has {hosts} Host headers; send one"))
    if method == b"CONNECT":
        return Reply(405, error_body("Method Not Allowed; this is not a proxy"))
    if codings and version == "1.0":
        return Reply(400, error_body("HTTP/1.0 has no Transfer-Encoding; use HTTP/1.1"))
    if codings and [name for part in codings.split(b",") if (name := part.strip().lower())] != [b"chunked"]:
        given = shown(codings.decode("latin-1").strip(", "))
        return Reply(501, error_body(f"Transfer-Encoding is {given!r}; only chunked is supported, once"))
    if length > limits.body_limit_bytes:
        return error_reply(too_large(length, limits.body_limit_bytes))
    return None


def origin_form(target: bytes) -> tuple[bytes | None, bytes]:
    """Split a target that is a whole URL into the Host header for its host, and a target without the host.

    Returns:
        None and the unchanged target if the target has no host.

    Source: RFC 9112, sections 3.2.2 and 3.3.
    """
    if target.startswith(b"/"):
        return None, target
    _, found, rest = target.partition(b"://")
    if not found:
        return None, target
    authority = _END_OF_AUTHORITY.split(rest, maxsplit=1)[0]
    path = rest[len(authority) :]
    return authority, path if path.startswith(b"/") else b"/" + path


def head_too_large(limits: HttpLimits) -> Reply:
    """The refusal of a head that is too large."""
    most = f"at most {limits.head_limit_bytes} bytes and {limits.max_headers} headers are accepted"
    return Reply(431, error_body(f"the head of the request is too large; {most}"))


def is_overdue(phase: Phase, waited_s: float, body_bytes: int, limits: HttpLimits) -> bool:
    """Whether a connection has waited for too long.

    Args:
        phase: what it waits for.
        waited_s: seconds since the phase started.
        body_bytes: bytes of the body received in that time.
        limits: on it.
    """
    match phase:
        case Phase.IDLE:
            return waited_s > limits.keep_alive_s
        case Phase.NEW | Phase.HEAD:
            return waited_s > limits.head_timeout_s
        case Phase.BODY:
            return waited_s > limits.body_timeout_s + body_bytes / limits.body_rate_bytes
        case Phase.LINGER:
            return waited_s > LINGER_S
        case Phase.ANSWER:
            return False


def overdue_reply(phase: Phase, waited_s: float, body_bytes: int, limits: HttpLimits) -> Reply | None:
    """The refusal for a connection that waited too long; None: close it without a reply."""
    if phase is Phase.HEAD:
        return Reply(408, error_body(f"the head did not arrive within {limits.head_timeout_s:g} s"))
    if phase is Phase.BODY:
        return Reply(
            408,
            error_body(
                f"{body_bytes} bytes of the body arrived in {waited_s:.0f} s; send at least "
                f"{limits.body_rate_bytes} bytes a second"
            ),
        )
    return None
