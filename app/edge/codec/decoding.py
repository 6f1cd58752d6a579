"""Tensors from images and texts, and replies from tensors: on the event loop what is cheap, in the pool what is not."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from app.batching.work import DEFAULT_OPTIONS, Answer, RequestOptions
from app.edge.budget import ByteBudget
from app.edge.codec.decode_pool import DecodePool, Ticket
from app.edge.codec.encoded import Encoded, Inputs, decode_inputs
from app.loaded import LoadedModel
from app.types import Clock, Tensors

T = TypeVar("T")

# Printing so many numbers takes longer than handing them to a thread.
INLINE_VALUES = 8_192


class Decoding:
    """What all protocols decode and print alike.

    Args:
        pool: for what is large.
        unread: what clients have not read of their replies: no large one is printed while there is no room.
        clock: monotonic seconds.
    """

    def __init__(self, *, pool: DecodePool, unread: ByteBudget, clock: Clock) -> None:
        self._pool = pool
        self._unread = unread
        self._clock = clock

    async def tensors(
        self, inputs: Inputs, model: LoadedModel, options: RequestOptions, *, began: float | None
    ) -> Tensors:
        """Tensors of a request whose images and texts are still encoded."""
        for value in inputs.values():
            if isinstance(value, Encoded):
                return await decode_inputs(inputs, model, self._pool, partial(self.ticket, model, options, began=began))
        return inputs  # type: ignore[return-value]  # all of them are tensors

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
