"""Images and texts of a request before they are decoded, the same for all protocols."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeGuard

import numpy as np

from app.contract.images.image_file import Room, is_cheap, no_bound
from app.contract.tokenizer import pad
from app.edge.codec.decode_pool import DecodePool, Ticket
from app.errors import InvalidInput, TooLarge, WrongFormat, quoted
from app.loaded import LoadedModel
from app.types import Array, Tensors

# Decoding more than this costs more than a thread hop and would block the event loop.
INLINE_TEXT_BYTES = 16_384
INLINE_IMAGE_BYTES = 4_096
INLINE_PIXELS = 4_096
INLINE_IMAGES = 4


@dataclass(frozen=True, slots=True)
class Encoded:
    """Images or texts as received, one per instance.

    Attributes:
        items: files, texts in UTF-8, or texts.
        place: names an item in errors, by its index; empty if there is only one.
        how: what to send instead of bytes that are not a valid image or text; may be empty.
    """

    items: list[bytes | str]
    place: Callable[[int], str] = lambda _: ""
    how: str = ""

    def __len__(self) -> int:
        return len(self.items)


Inputs = Mapping[str, Array | Encoded]


def is_decoded(inputs: Inputs) -> TypeGuard[Tensors]:
    """Whether all inputs are tensors."""
    return Encoded not in map(type, inputs.values())


def texts_of(inputs: Inputs, model: LoadedModel) -> dict[str, list[bytes | str]]:
    """The inputs of a text model that were sent as texts, by name: one text for each instance."""
    if model.tokenizer is None:
        return {}
    return {name: value.items for name, value in inputs.items() if isinstance(value, Encoded)}


async def decode_inputs(
    inputs: Inputs, model: LoadedModel, pool: DecodePool, make_ticket: Callable[[], Ticket]
) -> Tensors:
    """The tensors of a request, with images and texts decoded: on the event loop if cheap, otherwise in the pool.

    Args:
        inputs: at least one of them is encoded.
        model: the model that receives them.
        pool: runs expensive decoding.
        make_ticket: creates the time limit of the request; called only for the pool.

    Raises:
        InvalidInput: names the item and the rule it breaks.
        TooLarge: more than fits into the empty queue of the model.
        QueueFull, DeadlineExceeded, Draining: see ``DecodePool.run``.
    """
    tensors: dict[str, Array] = {}
    for name, value in inputs.items():
        if not isinstance(value, Encoded):
            tensors[name] = value
            continue
        _check_count(value, name, model)
        if _is_cheap(value, model):
            tensors[name] = decode(value, model)
        else:
            ticket = make_ticket()
            call = partial(decode, value, model, room=partial(pool.room, ticket), check=ticket.check)
            with model.admission.decoding_one():
                tensors[name] = await pool.run(call, ticket)
    return tensors


def _go_on() -> None:
    """Do nothing: cheap items need no check for a client that left."""


def decode(encoded: Encoded, model: LoadedModel, *, room: Room = no_bound, check: Callable[[], None] = _go_on) -> Array:
    """All items, one row each; shorter rows of token ids are padded at their end.

    Args:
        encoded: at least one item.
        model: the model that receives them.
        room: reserves the bytes that each image needs while it is decoded.
        check: called between two items; raises when the client no longer waits for them.

    Raises:
        InvalidInput: names the item and the rule it breaks.
    """
    rows = []
    for index, item in enumerate(encoded.items):
        if index:
            check()
        try:
            rows.append(_instance(item, model, room))
        except WrongFormat as error:
            raise WrongFormat(
                _said(encoded, index, f"{error}; {encoded.how}" if encoded.how else str(error))
            ) from error
        except InvalidInput as error:
            raise type(error)(_said(encoded, index, str(error))) from error
    if len(rows) == 1:
        return rows[0][np.newaxis]
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    return pad(rows)


def _instance(item: bytes | str, model: LoadedModel, room: Room) -> Array:
    if model.tokenizer is None and isinstance(item, bytes):
        return model.instance_from_image(item, room=room)
    return model.instance_from_text(item)


def _said(encoded: Encoded, index: int, message: str) -> str:
    place = encoded.place(index)
    return f"{place}: {message}" if place else message


def _is_cheap(encoded: Encoded, model: LoadedModel) -> bool:
    items = encoded.items
    if model.tokenizer is not None:
        return sum(map(len, items)) <= INLINE_TEXT_BYTES
    return len(items) <= INLINE_IMAGES and all(
        isinstance(item, bytes) and is_cheap(item, most_bytes=INLINE_IMAGE_BYTES, most_pixels=INLINE_PIXELS)
        for item in items
    )


def _check_count(encoded: Encoded, name: str, model: LoadedModel) -> None:
    """Refuse a request that can never fit the queue, before any of it is decoded."""
    policy = model.batching
    if len(encoded) > policy.max_queue_rows:
        raise TooLarge(
            f"{quoted(name)} holds {len(encoded)} instances; at most max_queue_rows={policy.max_queue_rows} fit the "
            "queue"
        )
    spec = model.spec.input(name)
    if not spec.is_variable and len(encoded) * spec.instance_bytes > policy.max_queue_bytes:
        raise TooLarge(
            f"{quoted(name)} holds {len(encoded)} instances of {spec.instance_bytes} bytes; at most "
            f"max_queue_bytes={policy.max_queue_bytes} fit the queue"
        )
