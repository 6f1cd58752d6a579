"""From the bodies of requests to tensors: on the event loop what is cheap, in the decode pool what is not."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from app.batching.work import DEFAULT_OPTIONS, Answer, RequestOptions
from app.edge.codec.decode_pool import DecodePool, Ticket
from app.edge.codec.encoded import Encoded, Inputs, decode_inputs
from app.edge.codec.json_tensor import LOCKING_BYTES, JsonReader
from app.edge.http.compression import inflate
from app.edge.http.incoming import EdgeLimits, Incoming
from app.edge.http.limits import Room
from app.edge.rest import formats as wire
from app.edge.rest.exchange import Exchange, Heads
from app.edge.rest.generate import parse_generate
from app.loaded import LoadedModel
from app.serving.generation import Prompt, Sampling, next_token
from app.types import Clock, Tensors

T = TypeVar("T")

# Inflating more than this takes longer than handing it to a thread.
INLINE_INFLATED_BYTES = 65_536
# Printing so many numbers takes longer than handing them to a thread.
INLINE_VALUES = 8_192


class Decoding:
    """Decodes requests.

    Args:
        limits: on bodies.
        pool: for what is large.
        bodies: holds what was inflated until the request is admitted.
        unread: what clients have not read of their replies: no large one is printed while there is no room.
        clock: monotonic seconds.
    """

    def __init__(self, *, limits: EdgeLimits, pool: DecodePool, bodies: Room, unread: Room, clock: Clock) -> None:
        self._limits = limits
        self._pool = pool
        self._bodies = bodies
        self._unread = unread
        self._clock = clock
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

    async def tensors(
        self, inputs: Inputs, model: LoadedModel, options: RequestOptions, *, began: float | None
    ) -> Tensors:
        """Tensors of a request whose images and texts are still encoded."""
        for value in inputs.values():
            if isinstance(value, Encoded):
                return await decode_inputs(inputs, model, self._pool, partial(self.ticket, model, options, began=began))
        return inputs  # type: ignore[return-value]  # all of them are tensors

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

    async def printed(
        self,
        print_answer: Callable[[Answer], T],
        outputs: Answer,
        model: LoadedModel,
        options: RequestOptions,
        *,
        began: float | None,
    ) -> T:
        """What ``print_answer`` makes of the outputs: here if that is cheap, and in the pool if not."""
        size = 0
        for values in outputs.values():
            size += values.size
        if size <= INLINE_VALUES:
            return print_answer(outputs)
        self._unread.check()
        return await self._pool.run(lambda: print_answer(outputs), self.ticket(model, options, began=began))

    async def aside(self, call: Callable[[], T], model: LoadedModel, *, began: float) -> T:
        """What ``call`` gives, run in the pool."""
        return await self._pool.run(call, self.ticket(model, DEFAULT_OPTIONS, began=began))

    def ticket(self, model: LoadedModel, options: RequestOptions, *, began: float | None) -> Ticket:
        """What a request may cost in time."""
        timeout_s = model.timeout_s(options)
        return Ticket((self._clock() if began is None else began) + timeout_s, timeout_s, self._clock)

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
