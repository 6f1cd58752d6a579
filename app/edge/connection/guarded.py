"""One HTTP connection under limits: number of open connections, and time for each phase."""

from typing import Any

from app.control.peer import ADMIN_LISTENER, peer_of
from app.edge.connection.parsing import ParsingProtocol
from app.edge.connection.refusing import Flow
from app.edge.connection.rules import Phase, is_overdue, overdue_reply
from app.edge.connection.unread import UnreadReplies
from app.edge.respond import error_reply
from app.errors import Overloaded

# If the client closes its stream within this time after its request, it only sends nothing more; later, it has left.
HALF_CLOSE_WITHIN_S = 0.1


class GuardedProtocol(ParsingProtocol):
    """A connection that counts, and has limited time for each phase."""

    _unread: UnreadReplies

    def connection_made(self, transport: Any) -> None:
        """Called when the connection opens."""
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._unread = UnreadReplies(transport, self._connections.unread, self._limits)
        self._peer = peer_of(self.client, self.server, is_admin=ADMIN_LISTENER in self.app_state)
        self._connections.add(self, self.loop)
        self._connections.turns.accepted(self.loop)
        if self._connections.is_full:
            most = self._limits.max_connections
            self._refuse(error_reply(Overloaded(f"{most} connections are open, as many as are allowed; try again")))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is closed: its answers are not needed any more."""
        super().connection_lost(exc)
        self._connections.remove(self)
        self._take_unparsed()
        self._release()
        self._unread.release()

    def pause_writing(self) -> None:
        """Called when the client reads more slowly than it is answered."""
        super().pause_writing()
        self._unread.hold()

    def resume_writing(self) -> None:
        """Called when the client has read nearly everything."""
        super().resume_writing()
        self._unread.release()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Called when the client has closed its stream. Returns True to keep the connection open for the answer."""
        if self._unparsed and self.transport.can_write_eof():
            self._has_ended = True
            return True
        sent_with_request = self.loop.time() - self._since < HALF_CLOSE_WITHIN_S
        if not self._awaits_answer() or not sent_with_request or not self.transport.can_write_eof():
            return False  # TLS cannot close only one direction
        self._is_last = self._is_deaf = True
        return True

    def _awaits_answer(self) -> bool:
        """Whether a complete request is not answered yet; an incomplete one after it is dropped."""
        if self._phase is Phase.BODY and self.pipeline:
            self._forget_cycle()
            return True
        return self._phase in {Phase.ANSWER, Phase.HEAD} and not (self.cycle is None or self.cycle.response_complete)

    def end_if_overdue(self, now: float) -> None:
        """Refuse or close a connection that exceeded its time. Called by the sweep."""
        if self._unread.are_stuck(now):
            self.transport.abort()
        if self.transport.is_closing():
            return
        if self._phase is Phase.BODY and self.flow.read_paused:  # the application, not the client, is slow
            self._since = now - self._limits.body_timeout_s / 2
        state = self._phase, now - self._since, self._body_bytes, self._limits
        if not is_overdue(*state):
            return
        if (reply := overdue_reply(*state)) is not None:
            self._refuse_message(reply)
        else:
            self.transport.close()
