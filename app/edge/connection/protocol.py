"""uvicorn's HTTP protocol with a short path for inference requests.

A small request goes from the parser to ``Dispatch.answer``, and its reply goes back to the socket, without an ASGI
scope, a task, events and messages. These cost more than everything that Atelier does for the request. All others, such
as a large body or a second request before the first is answered, take uvicorn's own path to the same code.
"""

import time
from collections.abc import Sequence
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from app.edge.call import Route
from app.edge.connection.cycle import ANSWERED
from app.edge.connection.direct_answer import DirectAnswer
from app.edge.connection.guarded import GuardedProtocol
from app.edge.entry.probes import PATHS as PROBES
from app.edge.respond import Header, Reply
from app.edge.rest.request import HttpRequest
from app.edge.rest.routes import match_target


class Cancellable(Protocol):
    """An answer in progress."""

    def cancel(self) -> Any:
        """The client no longer waits."""
        ...


class InferenceProtocol(GuardedProtocol):
    """A connection that answers small inference requests, and health checks, without ASGI."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._dispatch = self.config.app.dispatch  # type: ignore[union-attr]
        self._door = self.config.app.door  # type: ignore[union-attr]
        self._probes = self.config.app.probes  # type: ignore[union-attr]
        self._arriving: DirectAnswer | None = None
        self._running: Cancellable | None = None

    def _take_request(self) -> None:
        """Choose the path of the request."""
        found = match_target(self.url)
        if found is None and self._answer_probe():
            return
        if (
            found is not None
            and found[0].is_inference
            and self._fits_short_path()
            # A request that is refused takes the other path, where the refusal is sent before its body is read.
            and self._door.lets_in(visit := self._door.visit(self.headers, self._peer))
        ):
            if found[0].api == "v1" and (reply := self._refusal_of(found[0])) is not None:
                self._answer_early(reply, visit.headers)
                return
            request = HttpRequest(
                route=found[0], began=self._began, headers=self.headers, query=found[1], visit=visit, body=b""
            )
            self._arriving = DirectAnswer(self, request, keep_alive=self.parser.should_keep_alive())
            self.cycle = self._arriving  # type: ignore[assignment]
        else:
            self._arriving = None
            super()._take_request()
            if self._is_last:
                self.cycle.keep_alive = False  # it says so in its reply

    def _take_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._arriving is None:
            super()._take_body(body)
            return
        self._arriving.parts.append(body)
        if self._body_bytes > HIGH_WATER_LIMIT:
            parts, visit, self._arriving = self._arriving.parts, self._arriving.request.visit, None
            self.cycle.response_complete = True  # the request will not be answered
            super()._take_request()
            self.scope["state"]["visit"] = visit  # admitted already: a second time would count for its API key
            super()._take_body(b"".join(parts))

    def _complete_request(self) -> None:
        """The request is complete."""
        if self._arriving is None:
            super()._complete_request()
            return
        answer, self._arriving = self._arriving, None
        self._running = answer
        parts = answer.parts
        request = answer.request
        request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        if (
            request.route.api == "v2"
            and not request.may_state_options
            and (reply := self._refusal_of(request.route)) is not None
        ):
            self.replied(answer, reply)
            return
        answer.begin(self._dispatch.answer(request))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the answer is not needed any more."""
        super().connection_lost(exc)
        if self._running is not None:
            self._running.cancel()
            self._running = None  # which references this connection
        # The cycle references this connection and the body; together they would wait for a garbage collection.
        self._arriving = None
        self.cycle = None  # type: ignore[assignment]

    def _refusal_of(self, route: Route) -> Reply | None:
        """See ``EarlyRefusals.of``. With an access log there is no early refusal: ``Answering`` writes the log."""
        return None if self._door.access_log is not None else self._dispatch.refusals.of(route, self._began)

    def _answer_probe(self) -> bool:
        """Answer a health check without a task, so that thousands of simultaneous ones do not delay each other."""
        path = self.url.decode("latin-1")
        if path not in PROBES or self.parser.get_method() != b"GET" or not self._is_free():
            return False
        reply = self._probes.reply(path)
        visit = self._door.visit(self.headers, self._peer)
        seconds = time.perf_counter() - self._began
        self._door.log(visit, "GET", path, code=reply.status, nbytes=len(reply.body), seconds=seconds)
        self._answer_early(reply, visit.headers)
        return True

    def _answer_early(self, reply: Reply, more: Sequence[Header], *, keep_alive: bool | None = None) -> None:
        """Answer a request whose body is not needed; if it has not arrived, it is dropped.

        Args:
            reply: the reply.
            more: headers of the visit.
            keep_alive: whether the connection stays open; None: as the parsed head says.
        """
        self._arriving = None
        self.cycle = ANSWERED  # type: ignore[assignment]
        self.server_state.total_requests += 1
        self._write(reply, more, keep_alive=self.parser.should_keep_alive() if keep_alive is None else keep_alive)

    def replied(self, answer: DirectAnswer, reply: Reply | None) -> None:
        """Write the reply and continue with the next request."""
        answer.response_complete = True
        self._running = None
        self._leave_cycle(answer)
        if self.transport.is_closing():
            return
        if reply is None:  # the service is closing its connections
            self.transport.close()
            return
        self._write(reply, answer.request.visit.headers, keep_alive=answer.keep_alive)
        if not answer.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _leave_cycle(self, answered: object) -> None:
        """Forget a request that is answered: an idle connection keeps neither its body nor the version."""
        if self.cycle is answered:  # otherwise the next request has arrived
            self.cycle = ANSWERED  # type: ignore[assignment]

    def _fits_short_path(self) -> bool:
        """Whether the short path supports the head."""
        version = self.parser.get_http_version()
        return (
            self.parser.get_method() == b"POST"
            # A client of 1.0 that asks for an open connection would have to be told that it is.
            and (version == "1.1" or (version == "1.0" and not self.parser.should_keep_alive()))
            and not self.expect_100_continue
            and self._is_free()
        )

    def _is_free(self) -> bool:
        """Whether a reply can be written now: no other request is in progress, and the client reads."""
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused
