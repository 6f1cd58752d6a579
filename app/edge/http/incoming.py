"""An inference request as it comes in, and its body, read under the limits."""

from dataclasses import dataclass

from app.edge.entry.door import Visit
from app.edge.http.body import read_body, too_large
from app.edge.http.disconnects import DisconnectWatch, Watched
from app.edge.respond import Header, Receive, Send
from app.edge.rest.exchange import Heads, read_heads
from app.edge.rest.routes import Route


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """What a request may be, from the settings."""

    body_limit_bytes: int
    json_fallback_limit_bytes: int


@dataclass(slots=True)
class Incoming:
    """An inference request as it comes in.

    Attributes:
        route: from its path.
        headers: names in lower case.
        query: after the question mark.
        visit: what is known of it at the door.
        body: all of it; None if it is still to be read from ``receive``.
        receive: ASGI; also tells that the client left. None if the caller cancels the answer itself then.
        send: ASGI, for replies that come in parts.
        began: monotonic seconds at which its first byte came; None if nobody noted that.
    """

    route: Route
    headers: list[Header]
    query: bytes
    visit: Visit
    body: bytes | None = None
    receive: Receive | None = None
    send: Send | None = None
    began: float | None = None

    async def read(self, limits: EdgeLimits) -> tuple[Heads, bytes]:
        """The headers that matter, and the body as sent.

        Raises:
            InvalidInput: a header that is not a number.
            TooLarge: the body exceeds the limit.
            ClientLeft: the connection closed first.
        """
        heads = read_heads(self.headers)
        return heads, await self.raw_body(heads, limits)

    async def raw_body(self, heads: Heads, limits: EdgeLimits) -> bytes:
        """The body as sent; raises as ``read`` does."""
        if self.body is None:
            assert self.receive is not None
            self.body = await read_body(
                self.receive, content_length=heads.content_length, limit_bytes=limits.body_limit_bytes
            )
        elif len(self.body) > limits.body_limit_bytes:
            raise too_large(len(self.body), limits.body_limit_bytes)
        return self.body

    async def rollout_key(self, header: str | None, limits: EdgeLimits) -> bytes:
        """What decides whether the canary answers: the value of ``header``, or else the whole body."""
        if header is not None:
            wanted = header.encode("latin-1", "replace")
            for name, value in self.headers:
                if name == wanted:
                    return value
        return await self.raw_body(read_heads(self.headers), limits)

    @property
    def may_state_options(self) -> bool:
        """Whether it may state a priority or a timeout: the Open Inference Protocol has them, far inside its JSON."""
        body = self.body
        return self.route.api == "v2" and (body is None or b'"priority"' in body or b'"timeout"' in body)

    def watched(self, watch: DisconnectWatch) -> Watched | None:
        """The watch for its client leaving, begun; None if whoever calls sees to that."""
        return None if self.receive is None else watch.watch(self.receive)
