"""Rules for a connection, without the connection: which heads are refused, and what takes too long."""

from enum import Enum

from app.edge.http.body import too_large
from app.edge.http.limits import HttpLimits
from app.edge.respond import Reply, error_body, error_reply

# After a refusal the client may go on sending for so long: closed at once, the connection would be reset, and the reply
# lost.
LINGER_S = 2.0


class Phase(Enum):
    """What a connection waits for."""

    NEW = "its first byte"
    IDLE = "the next request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    ANSWER = "the answer"
    LINGER = "the client to close it"


def head_refusal(
    *, method: bytes, version: str, hosts: int, length: int, is_encoded: bool, limits: HttpLimits
) -> Reply | None:
    """Why a head of allowed size is refused; None if it is not.

    Args:
        method, version: of the request line.
        hosts: number of Host headers.
        length: Content-Length; 0 if there is none.
        is_encoded: it has a Transfer-Encoding.
        limits: on the body.

    Source: RFC 9112, sections 2.3, 3.2 and 6.1.
    """
    if version not in {"1.0", "1.1"}:
        return Reply(505, error_body(f"HTTP/{version} is not supported; use HTTP/1.1"))
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return Reply(400, error_body(f"the request has {hosts} Host headers; send one"))
    if method == b"CONNECT":
        return Reply(405, error_body("Method Not Allowed; this is not a proxy"))
    if is_encoded and version == "1.0":
        return Reply(400, error_body("HTTP/1.0 has no Transfer-Encoding; use HTTP/1.1"))
    if length > limits.body_limit_bytes:
        return error_reply(too_large(length, limits.body_limit_bytes))
    return None


def head_too_large(limits: HttpLimits) -> Reply:
    """The refusal of a head without end."""
    most = f"at most {limits.head_limit_bytes} bytes and {limits.max_headers} headers are accepted"
    return Reply(431, error_body(f"the head of the request is too large; {most}"))


def is_overdue(phase: Phase, waited_s: float, body_bytes: int, limits: HttpLimits) -> bool:
    """Whether a connection has waited for too long.

    Args:
        phase: for what.
        waited_s: since when.
        body_bytes: of the body that came meanwhile.
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
    """What the client is told then; None if there is nothing to say."""
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
