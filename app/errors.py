"""Every way a request or a load can fail, as facts. Knows no HTTP; ``edge.respond`` maps them to status codes.

ServingError
├── InvalidInput          the client sent a value that breaks a rule
│   ├── TooLarge          ... a rule about size
│   └── WrongFormat       ... bytes that are no image, or no text
├── NotFound
│   ├── ModelNotFound     no such model
│   └── VersionNotFound   the model exists, this version does not
├── Unavailable           try again: nothing is wrong with the request
│   ├── QueueFull         ... as many rows or bytes wait as the limits allow
│   ├── DeadlineOutOfReach ... so much waits that the answer would come after the deadline
│   ├── RateExceeded      ... the API key is used more often than its rate allows
│   ├── Overloaded        ... the process holds as many connections, or bytes of requests, as it may
│   ├── Draining          ... the process is stopping
│   └── ModelNotReady     ... the version is loading, unloading, was refused, or its backend hangs
├── DeadlineExceeded      the answer would come too late
├── Unauthenticated       the request carries no API key that is in force, and one is asked for
├── Forbidden             the request is understood, and whoever sends it may not
├── Unsupported           the protocol knows the wish, this service does not fulfil it
├── BackendFailed         the runtime raised or answered nonsense; never the client's fault
│   ├── DeviceFault       ... because the device failed or has no memory left, whatever the inputs are
│   └── BackendHung       ... because what runs the batch does not answer, or does not start any more
├── KeysUnreadable        the file of API keys is missing or broken
├── CannotListen          an address is taken or is none of this machine's
├── VersionRefused        a version directory breaks the contract (manifest, model.json, golden samples), or
│                         serving.json is broken: what lies on the disk is at fault, not the service
└── SettingsUnwritable    serving.json cannot be written
"""

# A value of a client's or of a file's own may be quoted in an error, however long it is.
ERROR_LIMIT_CHARACTERS = 4_096


def shortened(text: str) -> str:
    """A text for a reply, a log line or a version's state, cut where it is longer than an error may be."""
    return text if len(text) <= ERROR_LIMIT_CHARACTERS else text[:ERROR_LIMIT_CHARACTERS] + " ..."


class ServingError(Exception):
    """Base of all errors that the service answers with ``{"error": message}``."""

    @property
    def message(self) -> str:
        """One sentence: which value broke which rule. Cut, so that replies, logs and states need not cut it."""
        return shortened(str(self))


class InvalidInput(ServingError):
    """A value in the request breaks a rule of the signature or of the protocol."""


class TooLarge(InvalidInput):
    """A body, or an image in it, exceeds a size limit."""


class WrongFormat(InvalidInput):
    """Bytes that a model reads as an image or a text are none."""


class NotFound(ServingError):
    """What the request names does not exist."""


class ModelNotFound(NotFound):
    """No model of this name is in the repository."""


class VersionNotFound(NotFound):
    """The model exists, the version or label asked for does not."""


class Unavailable(ServingError):
    """The service cannot answer now; the same request may succeed later.

    Args:
        message: what is exhausted or missing.
        retry_after_s: seconds after which a retry makes sense.
    """

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Unavailable):
    """As many rows or bytes wait as ``max_queue_rows`` or ``max_queue_bytes`` allow."""


class DeadlineOutOfReach(Unavailable):
    """By the measured latency the answer would come after the request's deadline, so it is not begun."""


class RateExceeded(Unavailable):
    """An API key is used more often than its rate allows."""


class Overloaded(Unavailable):
    """The process holds as many connections, or bytes of unanswered requests, as its limits allow."""


class Draining(Unavailable):
    """The process received SIGTERM and takes no new work."""


class ModelNotReady(Unavailable):
    """The version is loading, unloading, or was refused at load, or no call of its backend returns."""


class DeadlineExceeded(ServingError):
    """The request's deadline passed before its answer was there."""


class Unauthenticated(ServingError):
    """The request carries no API key that is in force."""


class Forbidden(ServingError):
    """Whoever sends the request may not: an admin route without the right to, a foreign page, a key of other scope."""


class Unsupported(ServingError):
    """A part of the protocol that this service leaves out."""


class BackendFailed(ServingError):
    """The runtime raised, or an output has the wrong batch size or holds NaN."""


class DeviceFault(BackendFailed):
    """The device failed or has no memory left; the model and the inputs are not at fault."""


class BackendHung(BackendFailed):
    """What runs the batch did not answer in time, or does not start any more; parts of the batch would wait as long."""


class VersionRefused(ServingError):
    """A version directory breaks the on-disk contract; the message says which file and which rule."""


class SettingsUnwritable(ServingError):
    """serving.json of a model cannot be written: no space, no permission; it is as it was."""


class KeysUnreadable(ServingError):
    """The file of API keys is missing or breaks a rule; what it holds is never quoted."""


class CannotListen(ServingError):
    """The service was told to listen on an address that it does not get."""
