"""The client of a connection, and the listener it used."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.control.administration import is_loopback

# Key in the state of a connection that came through the listener for administrators.
ADMIN_LISTENER = "admin_listener"


@dataclass(frozen=True, slots=True)
class Peer:
    """One connection.

    Attributes:
        client: address and port of the client; empty over a Unix socket.
        is_near: it arrived at an address that only this machine can reach.
        is_admin: it came through the listener for administrators.
    """

    client: str = ""
    is_near: bool = True
    is_admin: bool = False


NEAR = Peer()


def peer_of(client: tuple[str, int] | None, server: tuple[str, int | None] | None, *, is_admin: bool) -> Peer:
    """The connection between these two addresses, in the form of ASGI scopes."""
    named = "" if client is None else f"{client[0]}:{client[1]}"
    return Peer(named, server is None or _is_near(server[0]), is_admin)


@lru_cache(maxsize=64)
def _is_near(address: str) -> bool:
    """Cached: a machine has few addresses, and every request looks one up."""
    return is_loopback(address)


def scope_peer(scope: Mapping[str, Any]) -> Peer:
    """The connection of a request."""
    client, server = scope.get("client"), scope.get("server")
    is_admin = bool(scope.get("state", {}).get(ADMIN_LISTENER))
    return peer_of(client and tuple(client), server and tuple(server), is_admin=is_admin)
