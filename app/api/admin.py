"""Who may call the routes that change what is served."""

import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import Request

from app.errors import Forbidden

_BEARER = "Bearer "


class AdminGuard:
    """A FastAPI dependency that lets administrators through.

    With a key, a request must carry it: ``Authorization: Bearer KEY``. Without one, the service must listen on
    this machine only and the request must come from it, and not from a page of another site in its browser.

    Args:
        key: the admin key; None or empty if there is none.
        host: address that the service was told to listen on.
    """

    def __init__(self, *, key: str | None, host: str) -> None:
        self._key = key
        self._local = is_loopback(host)

    async def __call__(self, request: Request) -> None:
        """Check one request.

        Raises:
            Forbidden: says what is missing.
        """
        if self._key:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), (_BEARER + self._key).encode()):
                raise Forbidden(f"{request.url.path} wants the admin key; send the header Authorization: Bearer KEY")
            return
        host, *_ = request.scope.get("server") or ("localhost",)
        if not self._local or not is_loopback(host):
            raise Forbidden(
                f"{request.url.path} is closed, because the service listens beyond this machine and has no admin key; "
                "set ATELIER_ADMIN_KEY"
            )
        origin = request.headers.get("origin")
        named = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if not is_loopback(named) or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
            raise Forbidden(f"{request.url.path} is closed to other sites; call it as localhost, or set an admin key")


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only. A Unix socket's path counts as such."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
