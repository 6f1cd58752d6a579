"""Checks before any HTTP request is read, and headers of its reply; the same for inference and all other routes."""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from app.control.api_keys import ApiKeys
from app.control.credentials import Credentials, read_credentials
from app.control.peer import Peer, scope_peer
from app.control.sites import Sites
from app.edge.entry.access_log import AccessLog
from app.edge.entry.cors import Cors
from app.edge.entry.probes import PATHS as PROBES
from app.edge.entry.request_ids import HEADER, RequestIds
from app.edge.entry.trace_context import HEADER as TRACE
from app.edge.respond import ASGIApp, Header, Message, Receive, Reply, Scope, Send, error_body, error_reply, send_reply
from app.errors import ServingError

log = logging.getLogger("atelier.edge")

HEAD = "atelier.head"
"""Key of the scope of a request without a body in its reply, which is answered like GET."""
_NOTED = frozenset({b"host", b"origin", b"sec-fetch-site", HEADER, TRACE})


@dataclass(slots=True)
class Visit:
    """One request as the door sees it.

    Attributes:
        peer: the connection of the request.
        noted: the headers that the door reads.
        request_id: its id.
        headers: headers for its reply.
        credentials: its credentials; None if the service has no API keys.
        is_admitted: whether it passed the checks.
        key: name of its API key; None without one.
    """

    peer: Peer
    noted: dict[bytes, bytes]
    request_id: bytes
    headers: tuple[Header, ...]
    credentials: Credentials | None = None
    is_admitted: bool = False
    key: str | None = None

    @property
    def log_fields(self) -> dict[str, object]:
        """Fields for ``extra`` of a log line."""
        return {"fields": {"request_id": self.request_id.decode()}}


class Door:
    """Admits or refuses requests.

    Args:
        sites: allowed hosts, and origins whose pages may send requests.
        cors: headers for those pages.
        keys: an inference request must carry one of these; None: requests need no key.
        access_log: logs the answered requests; None: no access log.

    Attributes:
        ids: creates the request ids.
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
        self.access_log = access_log
        self.ids = RequestIds()

    def visit(self, headers: Collection[Header], peer: Peer) -> Visit:
        """A visit, from the headers of the request, names in lower case."""
        noted = {name: value for name, value in headers if name in _NOTED}
        request_id = self.ids.name(noted.get(HEADER))
        credentials = None if self._keys is None else read_credentials(headers)
        own: tuple[Header, ...] = ((HEADER, request_id),)
        if self._cors is not None:
            own += tuple(self._cors.headers(noted.get(b"origin")))
        return Visit(peer, noted, request_id, own, credentials)

    def admit(self, visit: Visit) -> None:
        """Check an inference request.

        Raises:
            Forbidden: its Host is not this service, or it comes from a page of another site.
            Unauthenticated, RateExceeded: it has no valid API key, or the key sent too many requests.
        """
        noted = visit.noted
        self._check_host(visit)
        if b"origin" in noted or b"sec-fetch-site" in noted:
            origin, fetch_site = noted.get(b"origin"), noted.get(b"sec-fetch-site")
            self._sites.check_page(origin=origin, fetch_site=fetch_site, host=noted.get(b"host"))
        if self._keys is not None:
            assert visit.credentials is not None
            self._keys.check("infer", visit.credentials, found=partial(setattr, visit, "key"))
        visit.is_admitted = True

    def lets_in(self, visit: Visit) -> bool:
        """Whether ``admit`` accepts an inference request. Usually this costs little more than a look-up."""
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

    def may_be_remembered(self, visit: Visit) -> bool:
        """Whether every request with the same head is admitted, gets only a new request id, and is not logged."""
        noted, sites = visit.noted, self._sites
        return (
            self._keys is None
            and self._cors is None
            and self.access_log is None
            and noted.keys() <= {b"host"}
            and (sites.asks_nothing or noted.get(b"host") in sites.seen)
        )

    async def pass_through(self, scope: Scope, receive: Receive, send: Send, app: ASGIApp) -> None:
        """Pass any other request to ``app``, or refuse it. Routes that change something check the rest themselves."""
        began = time.monotonic()
        visit = self.visit(scope["headers"], scope_peer(scope))
        sending = Sending(visit, send)
        try:
            # Probes use any address of the machine in the Host header, and their replies reveal almost nothing.
            if scope["path"] not in PROBES:
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
        seconds = time.monotonic() - began
        self.log(visit, scope["method"], scope["path"], code=sending.code, nbytes=sending.nbytes, seconds=seconds)

    def log(self, visit: Visit, method: str, path: str, *, code: int, nbytes: int, seconds: float) -> None:
        """Write the access log of a request that is not inference."""
        if self.access_log is not None and self.access_log.takes(code):
            self.access_log.write(
                request_id=visit.request_id.decode(),
                client=visit.peer.client,
                protocol="http",
                method=method,
                path=path,
                code=code,
                bytes=nbytes,
                ms=round(1e3 * seconds, 3),
            )

    def turned_away(self, headers: Collection[Header], peer: Peer, code: int) -> tuple[Header, ...]:
        """Headers for the reply to a request that its connection refuses; the head may be incomplete."""
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
        send: the wrapped callable.

    Attributes:
        code: status code of the reply; 0 before the reply starts.
        nbytes: bytes of its body so far.
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
    """An ASGI application that always sends this reply."""

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_reply(reply, send)

    return answer
