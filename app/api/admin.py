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
        if not _is_own_page(host=request.headers.get("host", ""), origin=request.headers.get("origin")):
            raise Forbidden(f"{path} is closed to other sites; call it as localhost, or set an admin key")


def _is_own_page(*, host: str, origin: str | None) -> bool:
    """Whether a request names this machine, and comes from no page, or from one of ours. What is no URL is neither."""
    try:
        named = urlsplit(f"//{host}").hostname or ""
        return is_loopback(named) and (origin is None or urlsplit(origin).netloc == host)
    except ValueError:
        return False
