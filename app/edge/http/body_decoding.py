"""From the bodies of requests to tensors: on the event loop what is cheap, in the decode pool what is not."""

from app.batching.work import DEFAULT_OPTIONS, RequestOptions
from app.edge.budget import ByteBudget
from app.edge.codec.decode_pool import DecodePool, Ticket
from app.edge.codec.decoding import Decoding
from app.edge.codec.encoded import Encoded
from app.edge.codec.json_tensor import LOCKING_BYTES, JsonReader
from app.edge.http.compression import inflate
from app.edge.http.incoming import EdgeLimits, Incoming
from app.edge.rest import formats as wire
from app.edge.rest.exchange import Exchange, Heads
from app.edge.rest.generate import parse_generate
from app.loaded import LoadedModel
from app.serving.generation import Prompt, Sampling, next_token
from app.types import Clock, Tensors

# Inflating more than this takes longer than handing it to a thread.
INLINE_INFLATED_BYTES = 65_536


class BodyDecoding(Decoding):
    """Decodes requests over HTTP.

    Args:
        limits: on bodies.
        bodies: holds what was inflated until the request is admitted.
        pool, unread, clock: see ``Decoding``.
    """

    def __init__(
        self, *, limits: EdgeLimits, bodies: ByteBudget, pool: DecodePool, unread: ByteBudget, clock: Clock
    ) -> None:
        super().__init__(pool=pool, unread=unread, clock=clock)
        self._limits = limits
        self._bodies = bodies
        self._reader = self._new_reader()

    async def exchange(
        self, incoming: Incoming, heads: Heads, body: bytes, model: LoadedModel
    ) -> tuple[Exchange, Tensors]:
        """An inference request, understood, and its tensors.

        Args:
            incoming, heads, body: as sent.
            model: what is asked.

        Raises:
            ServingError: as ``inflate``, ``wire.parse`` and ``decode_inputs`` raise it.
        """
        if heads.content_encoding:
            body = await self._inflated(incoming, heads, body, model)
            with self._bodies.holding(len(body)):
                return await self._exchange(incoming, heads, body, model)
        return await self._exchange(incoming, heads, body, model)

    async def _exchange(
        self, incoming: Incoming, heads: Heads, body: bytes, model: LoadedModel
    ) -> tuple[Exchange, Tensors]:
        route = incoming.route
        request = wire.Request(route, heads, incoming.query, body, wire.kind_of(route, heads, body, model))
        if request.is_small:
            exchange = wire.parse(request, model, self._reader)
        else:
            ticket = self._ticket(incoming, model)
            exchange = await self._pool.run(
                lambda: wire.parse(request, model, self._new_reader(), ticket.check), ticket, alone=request.is_alone
            )
        return exchange, await self.tensors(exchange.inputs, model, exchange.options, began=incoming.began)

    async def prompt(
        self, incoming: Incoming, heads: Heads, body: bytes, model: LoadedModel
    ) -> tuple[Prompt, Sampling, RequestOptions]:
        """A request for a text, understood."""
        if heads.content_encoding:
            body = await self._inflated(incoming, heads, body, model)
        if len(body) <= wire.INLINE_BYTES["json"]:
            text, sampling, options = parse_generate(body, self._reader)
        else:
            ticket = self._ticket(incoming, model)
            text, sampling, options = await self._pool.run(
                lambda: parse_generate(body, self._new_reader()), ticket, alone=len(body) > LOCKING_BYTES
            )
        next_token(model)
        name = model.input_for_media()
        ids = await self.tensors({name: Encoded([text])}, model, options, began=incoming.began)
        return Prompt(text, ids[name][0]), sampling, options

    def _ticket(self, incoming: Incoming, model: LoadedModel) -> Ticket:
        """As ``ticket``, as long as the request's own timeout is not known."""
        return self.ticket(model, DEFAULT_OPTIONS, began=incoming.began)

    async def _inflated(self, incoming: Incoming, heads: Heads, body: bytes, model: LoadedModel) -> bytes:
        encoding, limit = heads.content_encoding, self._limits.body_limit_bytes
        plain = inflate(body, encoding, limit_bytes=limit, first_bytes=INLINE_INFLATED_BYTES)
        if plain is None:
            plain = await self._pool.run(
                lambda: inflate(body, encoding, limit_bytes=limit), self._ticket(incoming, model)
            )
        assert plain is not None
        return plain

    def _new_reader(self) -> JsonReader:
        return JsonReader(fallback_limit_bytes=self._limits.json_fallback_limit_bytes)
