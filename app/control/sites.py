"""Allowed hosts of requests, and sites whose pages may send them.

A page in a browser can send requests to a service on the same machine. ``Origin`` names the site of the page. With
DNS rebinding, a foreign host name resolves to 127.0.0.1 and the page looks like ours, but ``Host`` shows the name.
"""

import re
from collections.abc import Collection

from app.contract.files.regular import shown
from app.control.administration import is_loopback
from app.errors import Forbidden

# Allowed hosts are cached as sent, so that a check is one look-up; the client chooses the port.
MOST_REMEMBERED = 1_024
ANY = "*"
# RFC 9112, section 3.2: a name or an address, and a port, nothing else: text before an @ is not a host.
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:/?#@\[\]\\,]+))(?::[0-9]*)?")
_OWN = frozenset({b"same-origin", b"none"})


class Sites:
    """Decides which hosts and pages are allowed.

    Args:
        is_local: the service listens only on this machine, so requests must use a loopback name.
        allowed_hosts: further allowed names; ``*``: any. A service beyond this machine checks names only if some are
            given.
        origins: foreign origins whose pages may use what CORS opens, as browsers send them; ``*``: all.

    Attributes:
        asks_nothing: every host is allowed.
        seen: cache of allowed hosts, as sent.
    """

    def __init__(self, *, is_local: bool, allowed_hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._is_local = is_local
        self._asks_all = bool(allowed_hosts)
        self._asks_none = ANY in allowed_hosts
        self._hosts = {name for host in allowed_hosts if (name := host_name(host)) is not None}
        self.asks_nothing = self._asks_none or not (self._asks_all or is_local)
        self.seen: set[bytes] = set()
        self._any_origin = ANY in origins
        self._origins = {origin.lower().rstrip("/").encode() for origin in origins}

    def check_host(self, host: bytes, *, is_near: bool) -> None:
        """Check the Host of a request.

        Args:
            host: as sent.
            is_near: the request arrived at an address that only this machine can reach.

        Raises:
            Forbidden: names the host and the setting that allows it.
        """
        if host in self.seen or self._asks_none or not (self._asks_all or (self._is_local and is_near)):
            return
        name = host_name(host.decode("latin-1"))
        if name is None or not (is_loopback(name) or name in self._hosts):
            raise Forbidden(
                f"the Host header is {shown(host.decode('latin-1'))!r}, which is not a name of this service; use "
                "localhost, or add the name to ATELIER_ALLOWED_HOSTS"
            )
        if len(self.seen) >= MOST_REMEMBERED:
            self.seen.clear()
        self.seen.add(host)

    def allows(self, origin: bytes) -> bool:
        """Whether CORS allows pages of this origin."""
        return self._any_origin or origin.lower() in self._origins

    @property
    def has_origins(self) -> bool:
        """Whether CORS is on."""
        return self._any_origin or bool(self._origins)

    def check_page(self, *, origin: bytes | None, fetch_site: bytes | None, host: bytes | None) -> None:
        """Check the origin of a request for inference.

        Args:
            origin: as sent; None for a request that is not from a page, or from an old browser.
            fetch_site: Sec-Fetch-Site, the browser's statement on how the page's site and ours are related.
            host: Host of the request.

        Raises:
            Forbidden: it comes from a page of a site that is neither ours nor allowed.
        """
        if origin is not None and self.allows(origin):
            return
        if not is_own_page(origin=origin, fetch_site=fetch_site, host=host):
            whose = "another site" if origin is None else repr(shown(origin.decode("latin-1")))
            raise Forbidden(f"the request comes from a page of {whose}; --cors-origins can allow it")


def is_own_page(*, origin: bytes | None, fetch_site: bytes | None, host: bytes | None) -> bool:
    """Whether a request is not from a page, or from one of our own; arguments as in ``Sites.check_page``."""
    if fetch_site is not None:
        return fetch_site in _OWN
    if origin is None:
        return True
    _, _, place = origin.partition(b"://")
    return bool(place) and place.lower() == (host or b"").lower()


def host_name(host: str) -> str | None:
    """The name or address in a Host header, in lower case, without port and brackets; None if not host[:port]."""
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    return (found["address"] or found["name"].removesuffix(".")).lower() or None
