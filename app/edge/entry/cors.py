"""Cross-origin resource sharing: which pages of other sites may ask, and what their browsers are told of it.

Source: the Fetch standard, "HTTP extensions". Credentials (cookies) are never allowed: there are none.
"""

from app.control.sites import Sites
from app.edge.respond import Header, Reply, Scope

_PREFIXES = ("/v1/", "/v2/")
# No page of another site changes what is served, whatever CORS allows.
_CLOSED = "/v2/repository/"
_EXPOSED = b"x-request-id, server-timing, retry-after, www-authenticate, inference-header-content-length"
_MAX_AGE = b"600"


class Cors:
    """What browsers are told.

    Args:
        sites: knows the origins.
    """

    def __init__(self, sites: Sites) -> None:
        self._sites = sites

    def headers(self, origin: bytes | None) -> tuple[Header, ...]:
        """Of a reply to a page of this origin; None: to no page, but a cache may keep the reply for one."""
        vary: Header = (b"vary", b"origin")
        if origin is None or not self._sites.allows(origin):
            return (vary,)
        return (vary, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", _EXPOSED))

    def preflight(self, scope: Scope) -> Reply | None:
        """The answer to a browser's question whether a page may ask; None if this is none."""
        path: str = scope["path"].lower()
        if scope["method"] != "OPTIONS" or not path.startswith(_PREFIXES) or path.startswith(_CLOSED):
            return None
        asked = dict(scope["headers"])
        origin = asked.get(b"origin")
        if origin is None or b"access-control-request-method" not in asked or not self._sites.allows(origin):
            return None
        headers: list[Header] = [(b"access-control-allow-methods", b"GET, POST"), (b"access-control-max-age", _MAX_AGE)]
        if wanted := asked.get(b"access-control-request-headers"):
            headers.append((b"access-control-allow-headers", wanted))
        return Reply(204, b"", tuple(headers))
