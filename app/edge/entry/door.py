"""What every HTTP request passes before it is read, and what goes with its reply: inference and all other routes."""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from app.control.api_keys import ApiKeys
from app.control.peer import Peer, scope_peer
from app.control.sites import Sites
from app.edge.entry.access_log import AccessLog
from app.edge.entry.cors import Cors
from app.edge.entry.request_ids import HEADER, RequestIds
from app.edge.respond import ASGIApp, Header, Message, Receive, Reply, Scope, Send, error_body, error_reply, send_reply
from app.errors import ServingError

log = logging.getLogger("atelier.edge")

# Probes name a machine by whatever address they know it by, and learn next to nothing.
_PROBES = frozenset({"/v2/health/live", "/v2/health/ready", "/livez", "/healthz"})
_NOTED = frozenset({b"host", b"origin", b"sec-fetch-site", HEADER})
_SECRETS = frozenset({b"authorization", b"x-api-key"})


@dataclass(slots=True)
class Visit:
    """One request at the door.

    Attributes:
        peer: the connection that it came by.
        noted: those of its headers that the door reads.
        request_id: its name.
        headers: for its reply.
        is_admitted: it has been checked.
        key: name of its API key; None if it has none.
    """

    peer: Peer
    noted: dict[bytes, bytes]
    request_id: bytes
    headers: tuple[Header, ...]
    is_admitted: bool = False
    key: str | None = None

    @property
    def log_fields(self) -> dict[str, object]:
        """For ``extra`` of a log line."""
        return {"fields": {"request_id": self.request_id.decode()}}


class Door:
    """Lets requests in.

    Args:
        sites: hosts that they may name, and pages that may send them.
        cors: what replies to those pages say.
        keys: one of which an inference request must carry; None: it needs none.
        access_log: of what was answered; None: there is none.

    Attributes:
        ids: names the requests.
    """

    def __init__(
        self,
        *,
        sites: Sites,
        cors: Cors | None = None,
        keys: ApiKeys | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self._sites = sites
        self._cors = cors
        self._keys = keys
        self._noted = _NOTED if keys is None else _NOTED | _SECRETS
        self.access_log = access_log
        self.ids = RequestIds()

    def visit(self, headers: Iterable[Header], peer: Peer) -> Visit:
        """A request, known by its headers, names in lower case."""
        wanted = self._noted
        noted = {name: value for name, value in headers if name in wanted}
        request_id = self.ids.name(noted.get(HEADER))
        if self._cors is None:
            return Visit(peer, noted, request_id, ((HEADER, request_id),))
        return Visit(peer, noted, request_id, ((HEADER, request_id), *self._cors.headers(noted.get(b"origin"))))

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
                authorization=noted.get(b"authorization", b""),
                api_key=noted.get(b"x-api-key", b""),
                how="the header Authorization",
                found=partial(setattr, visit, "key"),
            )
        visit.is_admitted = True

    def lets_in(self, visit: Visit) -> bool:
        """Whether ``admit`` lets an inference request in. Costs the usual one little more than a look-up."""
        noted = visit.noted
        if self._keys is None and b"origin" not in noted and b"sec-fetch-site" not in noted:
            sites = self._sites
            if sites.asks_nothing or noted.get(b"host") in sites.seen:
                visit.is_admitted = True
                return True
        try:
            self.admit(visit)
        except ServingError:
            return False
        return True

    async def pass_through(self, scope: Scope, receive: Receive, send: Send, app: ASGIApp) -> None:
        """Let any other request in to ``app``, or refuse it. Routes that change something check the rest themselves."""
        began = time.monotonic()
        visit = self.visit(scope["headers"], scope_peer(scope))
        sending = Sending(visit, send)
        try:
            if scope["path"] not in _PROBES:
                self._check_host(visit)
            preflight = None if self._cors is None else self._cors.preflight(scope)
            if preflight is not None:
                await send_reply(preflight, sending)
            else:
                await app(scope, receive, sending)
        except ServingError as error:
            await send_reply(error_reply(error), sending)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"], extra=visit.log_fields)
            if not sending.code:
                await send_reply(Reply(500, error_body("internal error; see the service's log")), sending)
        if self.access_log is not None and self.access_log.takes(sending.code):
            self.access_log.write(
                request_id=visit.request_id.decode(),
                client=visit.peer.client,
                protocol="http",
                method=scope["method"],
                path=scope["path"],
                code=sending.code,
                bytes=sending.nbytes,
                ms=round(1e3 * (time.monotonic() - began), 3),
            )

    def turned_away(self, headers: Iterable[Header], peer: Peer, code: int) -> tuple[Header, ...]:
        """Headers for the reply to a request that its connection itself refuses, whose head may be incomplete."""
        visit = self.visit(headers, peer)
        if self.access_log is not None and self.access_log.takes(code):
            request_id = visit.request_id.decode()
            self.access_log.write(request_id=request_id, client=peer.client, protocol="http", code=code)
        return visit.headers

    def _check_host(self, visit: Visit) -> None:
        host = visit.noted.get(b"host")
        if host is not None:
            self._sites.check_host(host, is_near=visit.peer.is_near)


class Sending:
    """An ASGI ``send`` that adds the headers of a visit to its reply.

    Args:
        visit: the request.
        send: what is added to.

    Attributes:
        code: status code of the reply; 0 before it begins.
        nbytes: of its body, so far.
    """

    def __init__(self, visit: Visit, send: Send) -> None:
        self._visit = visit
        self._send = send
        self.code = 0
        self.nbytes = 0

    async def __call__(self, message: Message) -> None:
        """Send one message."""
        if message["type"] == "http.response.start":
            self.code = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._visit.headers]}
        else:
            self.nbytes += len(message.get("body", b""))
        await self._send(message)


def replying(reply: Reply) -> ASGIApp:
    """An application that answers with this alone."""

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_reply(reply, send)

    return answer
