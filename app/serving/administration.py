"""Rules of the calls that change what is served, the same over REST and gRPC: who may call, with which parameters."""

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, NoReturn, Protocol

from app.errors import Forbidden, InvalidInput, Unsupported
from app.repository.serving_file import Promotion

_BEARER = "Bearer "


class RepositoryCommands(Protocol):
    """What administrators may ask for; ``Lifecycle`` does it for one process, and says more of each."""

    async def load(self, name: str) -> None:
        """Load what serving.json asks for."""
        ...

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """Stop serving a model until it is loaded again."""
        ...

    async def promote(self, name: str, version: int) -> Promotion:
        """Let a version answer requests that name none."""
        ...

    async def rollback(self, name: str) -> Promotion:
        """Let the version before the last promotion answer."""
        ...


class AdminRule:
    """Lets administrators through.

    With a key, a call must carry it: ``Authorization: Bearer KEY``. Without one, the service must listen on this
    machine only and the call must come from it.

    Args:
        key: the admin key; None or empty if there is none.
        host: address that the service was told to listen on.
    """

    def __init__(self, *, key: str | None, host: str) -> None:
        self._key = key
        self._local = is_loopback(host)

    @property
    def has_key(self) -> bool:
        """Whether a key decides."""
        return bool(self._key)

    @property
    def is_closed(self) -> bool:
        """Whether nobody is let through: the service listens beyond this machine, and there is no key."""
        return not self._key and not self._local

    def check(self, call: str, *, authorization: str, how: str, near: bool) -> None:
        """Check one call.

        Args:
            call: what was called, for the message.
            authorization: what the call carries under that name; empty if nothing.
            how: what the protocol calls the place of the key: "the header Authorization".
            near: the call reached us by an address of this machine only.

        Raises:
            Forbidden: says what is missing.
        """
        if self._key:
            if not hmac.compare_digest(authorization.encode(), (_BEARER + self._key).encode()):
                raise Forbidden(f"{call} wants the admin key; send {how}: Bearer KEY")
        elif not self._local or not near:
            raise Forbidden(
                f"{call} is closed, because the service listens beyond this machine and has no admin key; "
                "set ATELIER_ADMIN_KEY"
            )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only. A Unix socket's path counts as such."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_load_parameters(parameters: Mapping[str, Any]) -> None:
    """Load takes no parameters: neither a configuration nor files.

    Raises:
        Unsupported: names the first one.
    """
    if parameters:
        raise Unsupported(
            f"parameter {min(parameters)!r} of load is not supported: a model is published under the models "
            "directory, its settings lie in serving.json"
        )


def check_unload_parameters(parameters: Mapping[str, Any]) -> None:
    """Unload takes ``unload_dependents``; no model depends on another, so both of its values mean the same.

    Raises:
        InvalidInput: it is no boolean, or there is another parameter.
    """
    for name, value in parameters.items():
        if name != "unload_dependents" or not isinstance(value, bool):
            raise InvalidInput(f"parameter {name!r} is {value!r}; unload takes 'unload_dependents', a boolean")


def refuse_repository_name(name: str, *, place: str) -> NoReturn:
    """There is one repository, and it has no name."""
    raise Unsupported(f"'repository_name' specification is not supported; leave {name!r} out of the {place}")
