"""Request bodies to tensors: cheap ones on the event loop, expensive ones in the decode pool."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.batching.work import DEFAULT_OPTIONS
from app.edge.budget import ByteBudget
from app.edge.call import InferenceRequest
from app.edge.codec.decode_pool import DecodePool, Ticket
from app.edge.codec.decoding import Decoding
from app.edge.codec.json_tensor import JsonReader
from app.edge.codec.media import costs_less_than_a_thread
from app.edge.http.body import BodyLimits
from app.edge.http.compression import inflate
from app.edge.respond import Reply
from app.edge.rest import formats
from app.edge.rest.generate import TextRequest, parse_generate
from app.edge.rest.request import HttpRequest
from app.edge.shared_memory.regions import TOO_FAR, Memory
from app.loaded import LoadedModel
from app.serving.generation import Prompt
from app.types import Clock, Tensors

Decoded = TypeVar("Decoded")

# Inflating more than this takes longer than a thread hop.
INLINE_INFLATED_BYTES = 65_536


class BodyDecoding(Decoding):
    """Decodes requests over HTTP.

    Args:
        limits: on bodies.
        bodies: counts inflated bytes until the request is admitted.
        memory: that clients on this machine share with the service.
        pool, unread, clock: see ``Decoding``.
    """

    def __init__(
        self,
        *,
        limits: BodyLimits,
        bodies: ByteBudget,
        memory: Memory,
        pool: DecodePool,
        unread: ByteBudget,
        clock: Clock,
    ) -> None:
        super().__init__(pool=pool, unread=unread, clock=clock)
        self._limits = limits
        self._bodies = bodies
        self._shared = memory
        self._reader = self._new_reader()

    def parsed_at_once(self, request: HttpRequest, body: bytes, model: LoadedModel) -> InferenceRequest[Reply] | None:
        """A request that is cheap to parse, without a coroutine; None for others. See ``decoded``."""
        if request.content_encoding:
            return None
        kind = formats.kind_of(request, body, model)
        if not costs_less_than_a_thread(kind, body):
            return None
        return formats.parse(request, body, kind, model, self._reader, self._memory(request))

    async def decoded(
        self, request: HttpRequest, body: bytes, model: LoadedModel
    ) -> tuple[InferenceRequest[Reply], Tensors]:
        """The tensors and options of an inference request.

        Args:
            request: its path, query and headers.
            body: as sent.
            model: the version that answers.

        Raises:
            ServingError: see ``inflate``, ``formats.parse`` and ``decode_inputs``.
        """
        if request.content_encoding:
            return await self._inflated(request, body, model, self._decoded)
        return await self._decoded(request, body, model)

    async def _decoded(
        self, request: HttpRequest, body: bytes, model: LoadedModel
    ) -> tuple[InferenceRequest[Reply], Tensors]:
        kind = formats.kind_of(request, body, model)
        if costs_less_than_a_thread(kind, body):
            parsed = formats.parse(request, body, kind, model, self._reader, self._memory(request))
        else:
            ticket = self._ticket(request, model)
            parsed = await self._pool.run(
                lambda: formats.parse(
                    request, body, kind, model, self._new_reader(), self._memory(request), ticket.check
                ),
                ticket,
                alone=kind == "json",
            )
        return parsed, await self.tensors(parsed.inputs, parsed.model or model, parsed.options, began=request.began)

    async def generation(self, request: HttpRequest, body: bytes, model: LoadedModel) -> tuple[Prompt, TextRequest]:
        """The prompt of a generate request, and the request."""
        if request.content_encoding:
            return await self._inflated(request, body, model, self._generation)
        return await self._generation(request, body, model)

    async def _generation(self, request: HttpRequest, body: bytes, model: LoadedModel) -> tuple[Prompt, TextRequest]:
        if costs_less_than_a_thread("json", body):
            parsed = parse_generate(body, self._reader)
        else:
            parsed = await self._pool.run(
                lambda: parse_generate(body, self._new_reader()),
                self._ticket(request, model),
                alone=True,
            )
        return await self.prompt(parsed.text, model, parsed.options, began=request.began), parsed

    async def _inflated(
        self,
        request: HttpRequest,
        body: bytes,
        model: LoadedModel,
        decode: Callable[[HttpRequest, bytes, LoadedModel], Awaitable[Decoded]],
    ) -> Decoded:
        """Decode a body without its Content-Encoding; the inflated bytes count as a body until the block ends."""
        encoding, limit = request.content_encoding, self._limits.body_limit_bytes
        plain = inflate(body, encoding, limit_bytes=limit, first_bytes=INLINE_INFLATED_BYTES)
        if plain is None:
            ticket = self._ticket(request, model)
            plain = await self._pool.run(lambda: inflate(body, encoding, limit_bytes=limit), ticket)
        assert plain is not None
        with self._bodies.holding(len(plain)):
            return await decode(request, plain, model)

    def _memory(self, request: HttpRequest) -> Memory:
        return self._shared if request.visit.peer.is_near else TOO_FAR

    def _ticket(self, request: HttpRequest, model: LoadedModel) -> Ticket:
        """As ``ticket``, for a request whose own timeout is not known yet."""
        return self.ticket(model, DEFAULT_OPTIONS, began=request.began)

    def _new_reader(self) -> JsonReader:
        return JsonReader(fallback_limit_bytes=self._limits.json_fallback_limit_bytes)
