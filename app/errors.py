"""All errors of a request or a load, as facts. Independent of HTTP; ``edge.respond`` maps them to status codes.

ServingError
├── InvalidInput          the client sent a value that breaks a rule
│   ├── TooLarge          ... a rule about size
│   └── WrongFormat       ... bytes that are not an image, or not a text
├── NotFound
│   ├── ModelNotFound     the model does not exist
│   ├── VersionNotFound   the model exists, this version does not
│   └── RequestNotFound   no request with this id is recorded
├── Unavailable           try again: nothing is wrong with the request
│   ├── QueueFull         ... the waiting rows, bytes or seconds reach a limit
│   ├── DeadlineOutOfReach ... the waiting work would delay the answer beyond the deadline
│   ├── RateExceeded      ... the API key is used more often than its rate allows
│   ├── Overloaded        ... the connections or the bytes of requests in the process reach a limit
│   ├── Draining          ... the process is stopping
│   ├── NoRoom            ... the model needs memory that others use now
│   └── ModelNotReady     ... the version is loading, unloading, was refused, or its backend hangs
├── DeadlineExceeded      the answer would come too late
├── Unauthenticated       the request carries no valid API key, and one is required
├── Forbidden             the request is valid, but the client may not send it
├── AlreadyKnown          the service already has what the client sends, and does not replace it
├── Unsupported           the protocol has the feature, this service does not support it
├── BackendFailed         the runtime raised or returned nonsense; never the client's fault
│   ├── DeviceFault       ... because the device failed or has no memory left, for any inputs
│   ├── BackendDown       ... because its process has ended too often, and is not started again yet
│   └── BackendHung       ... because the process or call that runs the batch does not answer, or cannot be restarted
├── KeysUnreadable        the file of API keys is missing or broken
├── CannotListen          an address is in use, or does not belong to this machine
├── VersionRefused        a version directory breaks the contract (manifest, model.json, golden samples), or
│   │                     serving.json is broken: the files on disk are at fault, not the service
│   └── TensorFlowMissing ... or it is a SavedModel, and TensorFlow is not installed
└── SettingsUnwritable    serving.json cannot be written
"""

from reprlib import Repr

# An error may quote a value of a client or of a file, which may be long.
ERROR_LIMIT_CHARACTERS = 4_096


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 20


def quoted(value: object) -> str:
    """As ``repr``, but short: a name of 16 MB takes 0.1 s to print, which ``shortened`` would cut only afterwards."""
    return _SHORT.repr(value)


def shortened(text: str) -> str:
    """A text for a reply, a log line or a version's state, cut to the length limit of errors."""
    return text if len(text) <= ERROR_LIMIT_CHARACTERS else text[:ERROR_LIMIT_CHARACTERS] + " ..."


class ServingError(Exception):
    """Base of all errors that the service answers with ``{"error": message}``.

    Attributes:
        retry_after_s: seconds after which a retry makes sense; None if it does not.
    """

    retry_after_s: int | None = None

    @property
    def message(self) -> str:
        """One sentence with the value and the rule it breaks. Cut, so that replies, logs and states need not cut it."""
        return shortened(str(self))


class InvalidInput(ServingError):
    """A value in the request breaks a rule of the signature or of the protocol."""


class TooLarge(InvalidInput):
    """A body, or an image in it, exceeds a size limit."""


class WrongFormat(InvalidInput):
    """The bytes are not a valid image or text."""


class NotFound(ServingError):
    """The requested object does not exist."""


class ModelNotFound(NotFound):
    """The repository has no model of this name."""


class VersionNotFound(NotFound):
    """The model exists, but the requested version or label does not."""


class RequestNotFound(NotFound):
    """No request of this id is recorded, or it is too old."""


class Unavailable(ServingError):
    """The service cannot answer now; the same request may succeed later.

    Args:
        message: the resource that is exhausted or missing.
        retry_after_s: seconds after which a retry makes sense.
    """

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Unavailable):
    """The waiting work reaches ``max_queue_rows``, ``max_queue_bytes`` or ``max_queue_s``."""


class DeadlineOutOfReach(Unavailable):
    """According to the measured latency the answer would come after the request's deadline, so it is not started."""


class RateExceeded(Unavailable):
    """An API key is used more often than its rate allows."""


class Overloaded(Unavailable):
    """The connections, or the bytes of unanswered requests, in the process reach a limit."""


class Draining(Unavailable):
    """The process received SIGTERM and accepts no new work."""


class NoRoom(Unavailable):
    """The model does not fit below the memory limit next to models that cannot be unloaded now."""


class ModelNotReady(Unavailable):
    """The version is loading, unloading, or was refused at load, or no call of its backend returns."""


class DeadlineExceeded(ServingError):
    """The request's deadline passed before its answer was ready."""


class Unauthenticated(ServingError):
    """The request carries no valid API key."""


class Forbidden(ServingError):
    """The client may not send this request: an admin route without the right to, a foreign page, another scope."""


class Unsupported(ServingError):
    """A part of the protocol that this service does not support."""


class BackendFailed(ServingError):
    """The runtime raised, or an output has the wrong batch size or contains NaN."""


class DeviceFault(BackendFailed):
    """The device failed or has no memory left; the model and the inputs are not at fault."""


class BackendDown(BackendFailed):
    """The process of the backend has ended too often, and is not started again before ``retry_after_s`` seconds.

    Parts of the batch would fail in the same way.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BackendHung(BackendFailed):
    """The batch did not answer in time, or its process cannot be restarted; parts of the batch would wait as long."""


class VersionRefused(ServingError):
    """A version directory breaks the on-disk contract; the message names the file and the rule."""


class TensorFlowMissing(VersionRefused):
    """A SavedModel cannot run, because TensorFlow is not installed."""


class SettingsUnwritable(ServingError):
    """serving.json of a model cannot be written (no space, no permission); the old file stays unchanged."""


class AlreadyKnown(ServingError):
    """The service already has what the client sends, and does not replace it."""


class KeysUnreadable(ServingError):
    """The file of API keys is missing or breaks a rule; messages never quote its content."""


class CannotListen(ServingError):
    """The service cannot listen on a configured address."""
