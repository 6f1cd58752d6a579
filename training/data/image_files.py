"""Picture files to pixels for training, by the very function that the service calls for a request.

A data set that does not fit in memory is decoded batch by batch. Imports no TensorFlow.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from app.contract.steps import ImagePreprocessing, TransformStep
from app.contract.tensor_spec import TensorSpec
from app.contract.transforms import STEPS, apply_steps, image_to_instance
from app.errors import ServingError
from training.data.settings import ImageSettings
from training.datasets.splits import Examples, Splits
from training.errors import DataUnusable, SettingRefused

Pixels = npt.NDArray[np.uint8]

_TRIAL_SIZES = ((640, 427), (120, 311))  # no step may depend on the proportions of a picture


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Decodes files as the service decodes requests.

    Attributes:
        preprocessing: as in model.json.
        target: the network's input, which the steps end in.
    """

    preprocessing: ImagePreprocessing
    target: TensorSpec

    def decode(self, path: str) -> Pixels:
        """uint8 of shape ``target.shape``.

        Raises:
            OSError: the file cannot be read.
            ServingError: the service would refuse it: not an image, damaged, or too large.
        """
        return image_to_instance(Path(path).read_bytes(), preprocessing=self.preprocessing, target=self.target)


class ImageFiles:
    """Pictures that stay on the disk; each use decodes them again.

    Args:
        paths: of the files.
        decoder: turns one into pixels.
    """

    def __init__(self, paths: Sequence[str], decoder: Decoder) -> None:
        self.paths = tuple(paths)
        self._decoder = decoder

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, height, width) or (rows, height, width, 3)."""
        return (len(self.paths), *self._decoder.target.shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: npt.NDArray[Any]) -> "ImageFiles":
        return ImageFiles([self.paths[row] for row in rows], self._decoder)

    def joined(self, others: "ImageFiles") -> "ImageFiles":
        """These pictures, then others that have the same decoder."""
        return ImageFiles(self.paths + others.paths, self._decoder)

    def read(self, rows: npt.NDArray[Any]) -> Pixels:
        """uint8 (rows, *shape): the pictures at these indices."""
        return np.stack([self._decoder.decode(self.paths[row]) for row in rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        return self.read(np.arange(len(self))).astype(dtype or np.uint8, copy=False)


def steps_end(name: str, steps: tuple[TransformStep, ...]) -> TensorSpec:
    """The input that image steps end in: uint8 (height, width) after ``grey``, otherwise (height, width, 3).

    Args:
        name: of the input.
        steps: of a recipe.

    Raises:
        SettingRefused: an unknown step, wrong arguments, or a size that depends on the picture.
    """
    for step in steps:
        if step.step not in STEPS:
            near = get_close_matches(step.step, STEPS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SettingRefused(f"unknown image step {step.step!r}; {hint}there are: {', '.join(sorted(STEPS))}")
    try:
        ends = [apply_steps(Image.new("RGB", size), steps) for size in _TRIAL_SIZES]
    except (TypeError, ValueError, ArithmeticError) as error:
        raise SettingRefused(f"image steps: {error}") from error
    if ends[0].size != ends[1].size:
        sizes = " and ".join(f"{width}x{height}" for width, height in _TRIAL_SIZES)
        found = " and ".join(f"{end.width}x{end.height}" for end in ends)
        raise SettingRefused(
            f"image steps turn pictures of {sizes} pixels into {found}; a network requires one size: end with the "
            "step resize, for example TransformStep(step='resize', arguments={'width': 96, 'height': 96})"
        )
    [width, height], colour = ends[0].size, ends[0].mode == "RGB"
    return TensorSpec(name=name, dtype="uint8", shape=(height, width, 3) if colour else (height, width))


def decoder_of(settings: ImageSettings) -> Decoder:
    """The decoder with the steps of a pipeline. Raises SettingRefused, see ``steps_end``."""
    preprocessing = ImagePreprocessing(input=settings.input_name, steps=settings.steps)
    return Decoder(preprocessing=preprocessing, target=steps_end(settings.input_name, settings.steps))


def open_files(
    splits: Splits, decoder: Decoder, *, limit_bytes: int, cure: str = "remove it, or name it in leave_out"
) -> Splits:
    """Decode the files of all parts, so that one that cannot be read is found before the training.

    Args:
        splits: parts whose instances are paths.
        decoder: turns a file into pixels.
        limit_bytes: most bytes of pixels of all parts together that are kept in memory; above it ``ImageFiles``.
        cure: end of the message about a file that cannot be decoded.

    Raises:
        DataUnusable: a file cannot be decoded; names the first one, and how many there are.
    """
    test = splits.read_test()
    parts = [splits.train, splits.validation, test]
    need = sum(map(len, parts)) * int(np.prod(decoder.target.shape))
    keep = need <= limit_bytes
    broken: list[tuple[str, str]] = []
    opened = [_opened(part, decoder, broken, keep=keep) for part in parts]
    if broken:
        path, reason = broken[0]
        count = f"{len(broken)} of {sum(map(len, parts))} pictures cannot be used; the first is " * (len(broken) > 1)
        raise DataUnusable(f"{count}{path}: {reason}; {cure}")
    train, validation, test = opened
    return replace(splits, train=train, validation=validation, read_test=lambda: test)


def _opened(examples: Examples, decoder: Decoder, broken: list[tuple[str, str]], *, keep: bool) -> Examples:
    paths = examples.instances
    assert isinstance(paths, tuple)  # only data sets of files come here
    pixels = np.zeros((len(paths) if keep else 0, *decoder.target.shape), np.uint8)

    def one(place: int) -> tuple[str, str] | None:
        try:
            decoded = decoder.decode(paths[place])
        except OSError as error:
            return paths[place], str(error.strerror)
        except ServingError as error:
            return paths[place], str(error)
        if keep:
            pixels[place] = decoded
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        broken += [fault for fault in threads.map(one, range(len(paths))) if fault]
    stored = cast(Pixels, ImageFiles(paths, decoder))  # an array as far as Examples and the feed of images use one
    return replace(examples, instances=pixels if keep else stored)
