"""Errors over gRPC: the one table from error to status code, and how much of a message fits."""

from grpc import StatusCode

from app.errors import (
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

# The first class that matches decides, so subclasses stand before their base; what is not in it is INTERNAL. TooLarge
# is an InvalidInput here too: RESOURCE_EXHAUSTED invites to try the same again, which would never succeed.
STATUS: tuple[tuple[type[ServingError], StatusCode], ...] = (
    (InvalidInput, StatusCode.INVALID_ARGUMENT),
    (Unauthenticated, StatusCode.UNAUTHENTICATED),
    (Forbidden, StatusCode.PERMISSION_DENIED),
    (NotFound, StatusCode.NOT_FOUND),
    (QueueFull, StatusCode.RESOURCE_EXHAUSTED),
    (RateExceeded, StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineOutOfReach, StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, StatusCode.UNAVAILABLE),
    (DeadlineExceeded, StatusCode.DEADLINE_EXCEEDED),
    (Unsupported, StatusCode.UNIMPLEMENTED),
    (VersionRefused, StatusCode.FAILED_PRECONDITION),
)
# Messages travel in the trailers, of which clients take 8 KiB; a byte may become three there.
MESSAGE_LIMIT_BYTES = 2_048


def code_of(error: ServingError) -> StatusCode:
    """gRPC status code of an error."""
    return next((code for kind, code in STATUS if isinstance(error, kind)), StatusCode.INTERNAL)


def details_of(error: ServingError) -> str:
    """The error's message, cut where it is longer than trailers may be: a client's own value may be quoted in it."""
    data = error.message.encode("utf-8", "backslashreplace")
    if len(data) <= MESSAGE_LIMIT_BYTES:
        return data.decode("utf-8")
    return data[:MESSAGE_LIMIT_BYTES].decode(errors="ignore") + " ..."
