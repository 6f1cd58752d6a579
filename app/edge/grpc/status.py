"""Errors over gRPC: the one table from error to status code, and the length limit of messages."""

from grpc import StatusCode

from app.errors import (
    AlreadyKnown,
    BackendDown,
    DeadlineExceeded,
    DeadlineOutOfReach,
    Forbidden,
    InvalidInput,
    NotFound,
    QueueFull,
    RateExceeded,
    ServingError,
    Unauthenticated,
    Unavailable,
    Unsupported,
    VersionRefused,
)

# The first class that matches decides, so subclasses are listed before their base; all others are INTERNAL. TooLarge
# is an InvalidInput here too: RESOURCE_EXHAUSTED suggests a retry, which would never succeed.
STATUS: tuple[tuple[type[ServingError], StatusCode], ...] = (
    (InvalidInput, StatusCode.INVALID_ARGUMENT),
    (Unauthenticated, StatusCode.UNAUTHENTICATED),
    (Forbidden, StatusCode.PERMISSION_DENIED),
    (NotFound, StatusCode.NOT_FOUND),
    (AlreadyKnown, StatusCode.ALREADY_EXISTS),
    (QueueFull, StatusCode.RESOURCE_EXHAUSTED),
    (RateExceeded, StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineOutOfReach, StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, StatusCode.UNAVAILABLE),
    (BackendDown, StatusCode.UNAVAILABLE),
    (DeadlineExceeded, StatusCode.DEADLINE_EXCEEDED),
    (Unsupported, StatusCode.UNIMPLEMENTED),
    (VersionRefused, StatusCode.FAILED_PRECONDITION),
)
# Messages are sent in the trailers, of which clients accept 8 KiB; a byte may become three there.
MESSAGE_LIMIT_BYTES = 2_048


def code_of(error: ServingError) -> StatusCode:
    """gRPC status code of an error."""
    return next((code for kind, code in STATUS if isinstance(error, kind)), StatusCode.INTERNAL)


def details_of(error: ServingError) -> str:
    """The error's message, cut to the limit of trailers: it may quote a long value of the client."""
    data = error.message.encode("utf-8", "backslashreplace")
    if len(data) <= MESSAGE_LIMIT_BYTES:
        return data.decode("utf-8")
    return data[:MESSAGE_LIMIT_BYTES].decode(errors="ignore") + " ..."
