"""Metadata of a gRPC call and its client's address."""

from urllib.parse import unquote

from grpc.aio import ServicerContext

from app.control.administration import is_loopback
from app.control.credentials import Credentials, read_credentials

_PLACE = "the metadata authorization"


class Metadata:
    """The metadata of a call.

    Attributes:
        fields: name in lower case -> value; the last value of a repeated name.
    """

    __slots__ = ("_all", "fields")

    def __init__(self, context: ServicerContext) -> None:
        self._all: tuple[tuple[str, str | bytes], ...] = tuple(context.invocation_metadata() or ())
        self.fields: dict[str, str | bytes] = dict(self._all)

    def raw(self, name: str) -> bytes:
        """A value; empty if the name was not sent."""
        return _bytes(self.fields.get(name, b""))

    @property
    def credentials(self) -> Credentials:
        """The key of the call."""
        return read_credentials(((name.encode(), _bytes(value)) for name, value in self._all), _PLACE)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")


def client_of(context: ServicerContext) -> str:
    """The client's address in gRPC's form: ``ipv4:127.0.0.1:5``, ``ipv6:[::1]:5``, ``unix:``."""
    return unquote(context.peer())


def is_near(context: ServicerContext) -> bool:
    """Whether the client is on this machine."""
    family, _, place = client_of(context).partition(":")
    return family == "unix" or is_loopback(place.rpartition(":")[0].strip("[]"))
