"""What every HTTP request passes before it is read, the same for inference and for the routes of FastAPI."""

from dataclasses import dataclass

from app.edge.respond import ASGIApp, Header, Receive, Scope, Send, error_reply, send_reply
from app.errors import ServingError
from app.serving.api_keys import ApiKeys
from app.serving.peer import Peer, scope_peer
from app.serving.sites import Sites

# Probes name a machine by whatever address they know it by, and learn next to nothing.
_PROBES = frozenset({"/v2/health/live", "/v2/health/ready", "/livez", "/healthz"})
_NOTED = frozenset({b"host", b"origin", b"sec-fetch-site"})
_SECRETS = frozenset({b"authorization", b"x-api-key"})


@dataclass(slots=True)
class Visit:
    """One request at the door.

    Attributes:
        peer: the connection that it came by.
        noted: those of its headers that the door reads.
        is_admitted: it has been checked.
    """

    peer: Peer
    noted: dict[bytes, bytes]
    is_admitted: bool = False


class Door:
    """Lets requests in.

    Args:
        sites: hosts that they may name, and pages that may send them.
        keys: one of which an inference request must carry; None: it needs none.
    """

    def __init__(self, *, sites: Sites, keys: ApiKeys | None = None) -> None:
        self._sites = sites
        self._keys = keys
        self._noted = _NOTED if keys is None else _NOTED | _SECRETS

    def visit(self, headers: list[Header], peer: Peer) -> Visit:
        """A request, known by its headers, names in lower case."""
        wanted = self._noted
        return Visit(peer, {name: value for name, value in headers if name in wanted})

    def admit(self, visit: Visit) -> None:
        """Check an inference request.

        Raises:
            Forbidden: it names a host that is not this service, or comes from a page of another site.
            Unauthenticated, RateExceeded: it carries no API key, or too many requests did.
        """
        noted = visit.noted
        self._check_host(visit)
        if b"origin" in noted or b"sec-fetch-site" in noted:
            origin, fetch_site = noted.get(b"origin"), noted.get(b"sec-fetch-site")
            self._sites.check_page(origin=origin, fetch_site=fetch_site, host=noted.get(b"host"))
        if self._keys is not None:
            self._keys.check(
                "infer",
                authorization=noted.get(b"authorization", b"").decode("latin-1"),
                api_key=noted.get(b"x-api-key", b"").decode("latin-1"),
                how="the header Authorization",
            )
        visit.is_admitted = True

    def lets_in(self, visit: Visit) -> bool:
        """Whether ``admit`` lets an inference request in."""
        try:
            self.admit(visit)
        except ServingError:
            return False
        return True

    async def pass_through(self, scope: Scope, receive: Receive, send: Send, app: ASGIApp) -> None:
        """Let any other request in to ``app``, or refuse it. Routes that change something check the rest themselves."""
        try:
            if scope["path"] not in _PROBES:
                self._check_host(self.visit(scope["headers"], scope_peer(scope)))
        except ServingError as error:
            await send_reply(error_reply(error), send)
        else:
            await app(scope, receive, send)

    def _check_host(self, visit: Visit) -> None:
        host = visit.noted.get(b"host")
        if host is not None:
            self._sites.check_host(host, is_near=visit.peer.is_near)
