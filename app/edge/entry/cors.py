"""Cross-origin resource sharing: which pages of other sites may send requests, and the headers for their browsers.

Source: the Fetch standard, "HTTP extensions". Credentials (cookies) are never allowed: Atelier uses none.
"""

from app.control.sites import Sites
from app.edge.respond import Header, Reply, Scope

_PREFIXES = ("/v1/", "/v2/")
# Pages of other sites cannot change what is served, even if CORS allows them to call.
_CLOSED = "/v2/repository/"
_EXPOSED = b"x-request-id, server-timing, retry-after, www-authenticate, inference-header-content-length"
_MAX_AGE = b"600"


class Cors:
    """Headers for browsers.

    Args:
        sites: knows the allowed origins.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """CORS headers of a reply to a page of this origin; None: not from a page, but a cache may serve it to one."""
        vary: Header = (b"vary", b"origin")
        if origin is None or not self._sites.allows(origin):
            return (vary,)
        return (vary, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED))

    def preflight(self, scope: Scope) -> Reply | None:
        """The answer to a preflight request (may this page send the request?); None for any other request."""
        path: str = scope["path"].lower()
        if scope["method"] != "OPTIONS" or not path.startswith(_PREFIXES) or path.startswith(_CLOSED):
            return None
        asked = dict(scope["headers"])
        origin = asked.get(b"origin")
        if origin is None or b"access-control-request-method" not in asked or not self._sites.allows(origin):
            return None
        headers: list[Header] = [(b"access-control-allow-methods", b"GET, POST"), (b"access-control-max-age", _MAX_AGE)]
        if requested := asked.get(b"access-control-request-headers"):
            headers.append((b"access-control-allow-headers", requested))
        return Reply(204, b"", tuple(headers))
