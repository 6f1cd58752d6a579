"""Settings of ``--as image``: the size, the steps, and how pixels are scaled for the model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from app.contract.steps import ImagePreprocessing, TransformStep
from app.contract.tensor_spec import TensorSpec
from training.errors import SourceRefused
from training.importing.entrance import Entrance, Layout

NAME = "pixels"
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_COLOURS = 3


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """As given on the command line.

    Attributes:
        size: WIDTHxHEIGHT, for a model that takes any size; empty takes the model's.
        steps: ``NAME`` or ``NAME:KEY=VALUE,...`` in order; empty resizes to the size, in grey for one channel.
        mean, std: numbers, separated by commas; a pixel becomes (pixel - mean) / std.
    """

    size: str = ""
    steps: Sequence[str] = ()
    mean: str = ""
    std: str = ""


def image_entrance(tensor: TensorSpec, options: ImageOptions) -> tuple[Entrance | None, ImagePreprocessing]:
    """The layers that convert uint8 pixels to the input of the model, and the steps before.

    Args:
        tensor: the input of the model.
        options: as given.

    Raises:
        SourceRefused: the input is not an image, or an option does not fit it.
    """
    layout, height, width, channels = _layout(tensor, options.size)
    shape = (height, width) if channels == 1 else (height, width, _COLOURS)
    mean, std = _numbers("--mean", options.mean, channels), _numbers("--std", options.std, channels)
    if 0 in std:
        raise SourceRefused("--std contains 0, and pixels are divided by it")
    is_plain = tensor.dtype == "uint8" and layout == "same"
    if is_plain and not mean and not std:
        entrance, name = None, tensor.name
    else:
        name = NAME
        target = TensorSpec(name=name, dtype="uint8", shape=shape)
        entrance = Entrance(target=target, source=tensor, layout=layout, mean=mean, std=std)
    steps = [_step(text) for text in options.steps] or _usual_steps(height, width, channels)
    try:
        return entrance, ImagePreprocessing(input=name, steps=tuple(steps))
    except ValidationError as error:
        raise SourceRefused(f"--step: {error.errors()[0]['msg']}") from error


def _layout(tensor: TensorSpec, size: str) -> tuple[Layout, int, int, int]:
    """The layout of the channels; height, width and number of channels."""
    if tensor.is_string or tensor.dtype == "bool":
        raise SourceRefused(f"--as image requires an input of numbers; it is {tensor.in_words}")
    shape = tensor.shape
    layouts: list[tuple[bool, Layout, tuple[int, ...], int]] = [
        (len(shape) == 2, "same", shape, 1),
        (len(shape) == 3 and shape[2] == 1, "grey", shape[:2], 1),
        (len(shape) == 3 and shape[2] == _COLOURS, "same", shape[:2], _COLOURS),
        (len(shape) == 3 and shape[0] == 1, "grey_first", shape[1:], 1),
        (len(shape) == 3 and shape[0] == _COLOURS, "channels_first", shape[1:], _COLOURS),
    ]
    found = next((each for each in layouts if each[0]), None)
    if found is None:
        raise SourceRefused(
            f"--as image requires an input of shape (height, width), with 1 or 3 channels first or last; it is "
            f"{tensor.in_words}"
        )
    _, layout, own, channels = found
    asked = _SIZE.fullmatch(size) if size else None
    if size and asked is None:
        raise SourceRefused(f"--size is {size!r}; expected WIDTHxHEIGHT, for example 224x224")
    if asked is None:
        if -1 in own:
            raise SourceRefused(f"the input {tensor.in_words} takes any size; give one with --size WIDTHxHEIGHT")
        return layout, own[0], own[1], channels
    width, height = int(asked[1]), int(asked[2])
    if own[0] not in {-1, height} or own[1] not in {-1, width}:
        raise SourceRefused(f"--size is {size}, and the input is {tensor.in_words}")
    return layout, height, width, channels


def _usual_steps(height: int, width: int, channels: int) -> list[TransformStep]:
    resize = TransformStep(step="resize", arguments={"width": width, "height": height})
    return [resize, TransformStep(step="grey")] if channels == 1 else [resize]


def _step(text: str) -> TransformStep:
    """``resize:width=28,height=28``."""
    name, _, rest = text.partition(":")
    arguments: dict[str, float | int | bool | str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise SourceRefused(f"--step {text!r}: {part!r} is not KEY=VALUE")
        arguments[key.strip()] = _value(value.strip())
    try:
        return TransformStep(step=name, arguments=arguments)
    except ValidationError as error:
        raise SourceRefused(f"--step {text!r}: {error.errors()[0]['msg']}") from error


def _value(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _numbers(option: str, text: str, channels: int) -> tuple[float, ...]:
    """One number, or one per channel."""
    if not text:
        return ()
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SourceRefused(f"{option} is {text!r}; expected numbers, separated by commas") from error
    if len(numbers) not in {1, channels} or not all(abs(number) < 1e6 for number in numbers):
        raise SourceRefused(f"{option} is {text!r}; expected 1 or {channels} numbers between -1e6 and 1e6")
    return numbers
