"""The key of a call: read in one way for inference, administration and metrics, over HTTP and gRPC."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import Unauthenticated

AUTHORIZATION, API_KEY = b"authorization", b"x-api-key"
HEADER = "the header Authorization"
_BEARER = b"bearer "


@dataclass(frozen=True, slots=True)
class Credentials:
    """The headers of a call that identify its sender.

    Attributes:
        authorization: its authorization value; empty without one.
        api_key: its x-api-key value; empty without one.
        place: the protocol's name for the place of the first: "the header Authorization".
        repeated: name of one that was sent twice; empty if none was.
    """

    authorization: bytes
    api_key: bytes
    place: str
    repeated: str

    @property
    def key(self) -> bytes:
        """The key: after ``Bearer``, in any case, or else from x-api-key; empty without one.

        Raises:
            Unauthenticated: one of them was sent twice. A proxy in front may have checked the other one.
        """
        if self.repeated:
            raise Unauthenticated(f"{self.repeated} was sent twice; send it once")
        if self.authorization[: len(_BEARER)].lower() == _BEARER:
            return self.authorization[len(_BEARER) :]
        return self.api_key


def read_credentials(fields: Iterable[tuple[bytes, bytes]], place: str = HEADER) -> Credentials:
    """Read the credentials from headers or metadata, names in lower case.

    Args:
        fields: name and value of each, repeated ones included.
        place: see ``Credentials``.
    """
    found: dict[bytes, bytes] = {}
    repeated = ""
    for name, value in fields:
        if name in (AUTHORIZATION, API_KEY):
            if name in found:
                repeated = name.decode()
            found[name] = value
    return Credentials(found.get(AUTHORIZATION, b""), found.get(API_KEY, b""), place, repeated)
