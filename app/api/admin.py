"""Access control for the routes that change what is served."""

from fastapi import Request

from app.control.administration import AdminCall, AdminRule, is_loopback
from app.control.api_keys import ApiKeys
from app.control.credentials import read_credentials
from app.control.keys_file import Scope
from app.control.peer import scope_peer
from app.control.sites import host_name, is_own_page
from app.errors import Forbidden, Unauthenticated


class AdminGuard:
    """A FastAPI dependency that admits administrators: by their key, or by an address of this machine.

    Pages of other sites are always refused. A call without a key must also name this machine as its host.

    Args:
        rule: decides which callers are administrators.
    """

    def __init__(self, rule: AdminRule) -> None:
        self._rule = rule

    async def __call__(self, request: Request) -> None:
        """Check one request.

        Raises:
            Forbidden, Unauthenticated: the message names what is missing.
        """
        path, headers = request.url.path, request.headers
        peer = scope_peer(request.scope)
        self._rule.check(
            AdminCall(
                name=path,
                credentials=read_credentials(headers.raw),
                is_near=peer.is_near,
                is_at_listener=peer.is_admin,
                fields=headers.keys(),
            )
        )
        host = headers.get("host", "")
        is_own = is_own_page(
            origin=_raw(headers.get("origin")), fetch_site=_raw(headers.get("sec-fetch-site")), host=_raw(host)
        )
        if not is_own or not (self._rule.has_key or is_loopback(host_name(host) or "")):
            raise Forbidden(f"{path} is closed to other sites; call it as localhost, or set an admin key")


class KeyGuard:
    """A FastAPI dependency that requires an API key.

    Args:
        keys: the valid keys.
        scope: the scope that the key must have.
    """

    def __init__(self, keys: ApiKeys, scope: Scope) -> None:
        self._keys = keys
        self._scope: Scope = scope

    async def __call__(self, request: Request) -> None:
        """Check one request. Raises as ``ApiKeys.check`` does."""
        self._keys.check(self._scope, read_credentials(request.headers.raw))


class FeedbackGuard:
    """A FastAPI dependency that admits API keys with the scope feedback, and administrators.

    Args:
        admin: admits administrators.
        keys: the valid keys; None: there are none.
    """

    def __init__(self, admin: AdminGuard, keys: ApiKeys | None) -> None:
        self._admin = admin
        self._keys = keys

    async def __call__(self, request: Request) -> None:
        """Check one request. Raises as ``ApiKeys.check`` does, or without API keys as ``AdminGuard`` does."""
        if self._keys is None:
            await self._admin(request)
            return
        try:
            self._keys.check("feedback", read_credentials(request.headers.raw))
        except (Forbidden, Unauthenticated) as missing:
            try:
                await self._admin(request)
            except (Forbidden, Unauthenticated):
                raise missing from None


def _raw(value: str | None) -> bytes | None:
    return None if value is None else value.encode("latin-1")
