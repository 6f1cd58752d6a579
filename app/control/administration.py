"""Rules for calls that change what is served, the same over REST and gRPC: permitted callers and parameters."""

import hmac
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal, NoReturn, Protocol

from app.control.api_keys import ApiKeys
from app.control.credentials import Credentials
from app.errors import Forbidden, InvalidInput, Unsupported
from app.repository.serving_file import Promotion

log = logging.getLogger("atelier.admin")

_FORWARDING = frozenset(
    {"forwarded", "via", "x-real-ip", "x-original-forwarded-for", "true-client-ip", "cf-connecting-ip"}
)


class RepositoryCommands(Protocol):
    """The commands of administrators; ``Lifecycle`` implements them for one process and documents them."""

    async def load(self, name: str) -> None:
        """Load the versions that serving.json specifies."""
        ...

    async def unload(self, name: str, *, timeout_s: float) -> None:
        """Stop serving a model until it is loaded again."""
        ...

    async def promote(self, name: str, version: int) -> Promotion:
        """Make a version the default version."""
        ...

    async def rollback(self, name: str) -> Promotion:
        """Restore the default version from before the last promotion."""
        ...


AdminMode = Literal["auto", "off", "key", "loopback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminCall:
    """A call that changes what is served, independent of the protocol.

    Attributes:
        name: name of the call, for messages.
        credentials: its key.
        is_near: it arrived at an address that only this machine can reach.
        is_at_listener: it arrived at the listener for administrators.
        fields: names of its headers or metadata, in lower case.
    """

    name: str
    credentials: Credentials
    is_near: bool
    is_at_listener: bool
    fields: Collection[str]


class AdminRule:
    """Decides which calls come from administrators.

    With an admin key, a call must carry it; see ``Credentials``. Without one, the service must listen only on
    this machine, the call must come from it, and no proxy header may show that it was forwarded. A proxy that adds no
    header cannot be distinguished from a local caller; use ``mode`` or the listener in that case.

    Args:
        mode: "off" admits no caller, "key" callers with the key (the settings require one then), "loopback" callers on
            this machine; "auto": "key" if there is a key, otherwise "loopback".
        key: the admin key; None or empty without one.
        keys: API keys; those with the scope admin are accepted like the admin key.
        host: address, or path of a Unix socket, at which admin calls arrive.
        has_listener: admin calls have their own listener and are answered nowhere else.
    """

    def __init__(
        self,
        *,
        mode: AdminMode = "auto",
        key: str | None,
        keys: ApiKeys | None = None,
        host: str,
        has_listener: bool = False,
    ) -> None:
        self._is_off = mode == "off"
        self._key, self._keys = (key, keys) if mode in {"auto", "key"} else (None, None)
        self._needs_key = bool(self._key) or self._keys is not None
        self._local = is_loopback(host)
        self._has_listener = has_listener

    @property
    def has_key(self) -> bool:
        """Whether callers need a key."""
        return self._needs_key

    @property
    def is_closed(self) -> bool:
        """Whether all calls are refused by mistake: the service listens beyond this machine, and there is no key."""
        return not self._is_off and not self._needs_key and not self._local

    def check(self, call: AdminCall) -> None:
        """Check one call.

        Raises:
            Forbidden, Unauthenticated: the message names what is missing.
        """
        if self._is_off:
            raise Forbidden(f"{call.name} is closed; the service was started with --admin off")
        if self._has_listener and not call.is_at_listener:
            raise Forbidden(f"{call.name} is closed here; it is answered at the address given with --admin-bind")
        who = "no key, from this machine"
        if self._needs_key:
            who = self._check_key(call)
        elif not self._local or not call.is_near:
            raise Forbidden(
                f"{call.name} is closed, because the service listens beyond this machine and has no admin key; "
                "set ATELIER_ADMIN_KEY"
            )
        elif (sign := forwarding(call.fields)) is not None:
            raise Forbidden(
                f"{call.name} came through a proxy: it has {sign!r}; without an admin key only callers on this "
                "machine are accepted; set ATELIER_ADMIN_KEY"
            )
        log.info("%s was called: %s", call.name, who)

    def _check_key(self, call: AdminCall) -> str:
        """Whose key it is, in words."""
        if self._key and hmac.compare_digest(call.credentials.key, self._key.encode()):
            return "by the admin key"
        if self._keys is None:
            raise Forbidden(f"{call.name} requires the admin key; send {call.credentials.place}: Bearer KEY")
        return f"by the API key {self._keys.check('admin', call.credentials)!r}"


def forwarding(fields: Collection[str]) -> str | None:
    """The first header that shows that a proxy forwarded the request; None without one."""
    for name in fields:
        usual = name.replace("_", "-")  # gateways may treat the two as the same
        if usual in _FORWARDING or usual.startswith("x-forwarded-"):
            return name
    return None


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine. The path of a Unix socket counts as such."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_load_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse all parameters of load: neither a configuration nor files are accepted.

    Raises:
        Unsupported: names the first parameter.
    """
    if parameters:
        raise Unsupported(
            f"parameter {min(parameters)!r} of load is not supported: a model is published under the models "
            "directory, and its settings are in serving.json"
        )


def check_unload_parameters(parameters: Mapping[str, Any]) -> None:
    """Check the parameters of unload: only ``unload_dependents``, which has no effect, since models are independent.

    Raises:
        InvalidInput: it is not a boolean, or there is another parameter.
    """
    for name, value in parameters.items():
        if name != "unload_dependents" or not isinstance(value, bool):
            raise InvalidInput(f"parameter {name!r} is {value!r}; unload takes 'unload_dependents', a boolean")


def refuse_repository_name(name: str, *, place: str) -> NoReturn:
    """Refuse a repository name: there is one repository, without a name."""
    raise Unsupported(f"'repository_name' specification is not supported; leave {name!r} out of the {place}")
