"""Decodes images and texts and encodes replies: cheap ones on the event loop, expensive ones in the pool."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from app.batching.work import DEFAULT_OPTIONS, Answer, RequestOptions
from app.contract.strings import content_bytes
from app.edge.budget import ByteBudget
from app.edge.codec.decode_pool import DecodePool, Ticket
from app.edge.codec.encoded import Encoded, Inputs, decode_inputs, is_decoded
from app.loaded import LoadedModel
from app.serving.generation import Prompt, next_token
from app.types import Clock, Tensors

T = TypeVar("T")

# Encoding more numbers, or bytes of strings, than this takes longer than a thread hop.
INLINE_VALUES = 8_192


class Decoding:
    """Decoding and encoding shared by all protocols.

    Args:
        pool: runs the expensive calls.
        unread: budget for unread replies; no large reply is encoded while it is used up.
        clock: monotonic seconds.
    """

    def __init__(self, *, pool: DecodePool, unread: ByteBudget, clock: Clock) -> None:
        self._pool = pool
        self._unread = unread
        self._clock = clock

    async def tensors(
        self, inputs: Inputs, model: LoadedModel, options: RequestOptions, *, began: float | None
    ) -> Tensors:
        """The tensors of a request whose images and texts are not decoded yet."""
        if is_decoded(inputs):
            return inputs
        return await decode_inputs(inputs, model, self._pool, partial(self.ticket, model, options, began=began))

    async def prompt(self, text: str, model: LoadedModel, options: RequestOptions, *, began: float) -> Prompt:
        """A text to continue, and its tokens.

        Raises:
            ServingError: the model does not generate text; see ``decode_inputs``.
        """
        next_token(model)
        name = model.input_for_media()
        ids = await self.tensors({name: Encoded([text])}, model, options, began=began)
        return Prompt(text, ids[name][0])

    async def printed(
        self,
        print_answer: Callable[[Answer], T],
        outputs: Answer,
        model: LoadedModel,
        options: RequestOptions,
        *,
        began: float | None,
    ) -> T:
        """The result of ``print_answer`` for outputs that are not small; runs in the pool."""
        self._unread.check()
        return await self._pool.run(lambda: print_answer(outputs), self.ticket(model, options, began=began))

    async def aside(self, call: Callable[[], T], model: LoadedModel, *, began: float) -> T:
        """The result of ``call``, run in the pool."""
        return await self._pool.run(call, self.ticket(model, DEFAULT_OPTIONS, began=began))

    def ticket(self, model: LoadedModel, options: RequestOptions, *, began: float | None) -> Ticket:
        """The time limit of a request."""
        timeout_s = model.timeout_s(options)
        return Ticket((self._clock() if began is None else began) + timeout_s, timeout_s, self._clock)


def is_small(outputs: Answer) -> bool:
    """Whether to print outputs costs less than a thread hop."""
    size = 0
    for values in outputs.values():
        size += values.size if values.dtype.kind != "O" else content_bytes(values)
    return size <= INLINE_VALUES
