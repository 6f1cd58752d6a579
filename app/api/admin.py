"""Who may call the routes that change what is served."""

from urllib.parse import urlsplit

from fastapi import Request

from app.errors import Forbidden
from app.serving.administration import AdminRule, is_loopback


class AdminGuard:
    """A FastAPI dependency that lets administrators through, by their key or because they are on this machine.

    Without a key, a request must not come from a page of another site in a browser of this machine either.

    Args:
        rule: who is one.
    """

    def __init__(self, rule: AdminRule) -> None:
        self._rule = rule

    async def __call__(self, request: Request) -> None:
        """Check one request.

        Raises:
            Forbidden: says what is missing.
        """
        path = request.url.path
        given = request.headers.get("authorization", "")
        address, *_ = request.scope.get("server") or ("localhost",)
        self._rule.check(path, authorization=given, how="the header Authorization", near=is_loopback(address))
        if self._rule.has_key:
            return
        origin = request.headers.get("origin")
        named = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if not is_loopback(named) or (origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
            raise Forbidden(f"{path} is closed to other sites; call it as localhost, or set an admin key")
