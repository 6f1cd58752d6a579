"""How instances become batches: the settings of the image, text, and number pipelines.

A pipeline is bound to a training part once (text builds its vocabulary there) and then is a ``Feed``. Importing this
module does not import TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from app.contract.model_spec import ImagePreprocessing, TensorSpec, TextPreprocessing, TransformStep
from app.contract.tokenizer import Tokenizer, most_frequent_tokens
from training.datasets.splits import Examples
from training.overrides import FIXED


@dataclass(frozen=True, kw_only=True)
class Span:
    """The epochs that a training data set yields, one after the other.

    Attributes:
        first_epoch: 0, or where an interrupted run goes on; epoch e gives the same batches in either case.
        epochs: number of epochs of the whole run.
        batch_size: instances of each batch; what does not fill one is left out of that epoch.
        seed: order, augmentation and noise follow from it and the epoch's number alone.
        max_length: for texts: most tokens, if other than the pipeline's.
    """

    first_epoch: int = 0
    epochs: int
    batch_size: int
    seed: int
    max_length: int | None = None


class Feed(Protocol):
    """A pipeline bound to a training part.

    Attributes:
        input: what the network takes.
        preprocessing: how the service makes it from an encoded image or a text.
        tokenizer: for text, else None.
    """

    @property
    def input(self) -> TensorSpec: ...  # noqa: D102
    @property
    def preprocessing(self) -> ImagePreprocessing | TextPreprocessing | None: ...  # noqa: D102
    @property
    def tokenizer(self) -> Tokenizer | None: ...  # noqa: D102

    def rows(self, examples: Examples) -> int:
        """Rows that an epoch of ``training`` draws from."""
        ...

    def training(self, examples: Examples, span: Span) -> Any:
        """tf.data.Dataset of (inputs, targets), shuffled and augmented, epoch by epoch.

        Targets of classes are one-hot float32 (batch, classes).
        """
        ...

    def watched(self, examples: Examples, *, batch_size: int) -> Any:
        """tf.data.Dataset of (inputs, targets) for looks at a part while training: as ``training``, but once."""
        ...

    def evaluation(self, examples: Examples, *, batch_size: int) -> tuple[Any, npt.NDArray[np.intp]]:
        """tf.data.Dataset of (inputs, targets), cached, and the row of ``truth`` that each of its rows is."""
        ...

    def truth(self, examples: Examples) -> npt.NDArray[Any]:
        """What the network should have answered, as the recipe's task wants it."""
        ...

    def sample(self, examples: Examples, rows: int) -> Examples:
        """A part of ``examples`` that gives about ``rows`` rows of ``truth``; they are in random order already."""
        ...

    def statistics(self, examples: Examples) -> Mapping[str, Any]:
        """What the inputs look like, for drift detection."""
        ...


class Pipeline(Protocol):
    """Settings of a pipeline."""

    def bind(self, train: Examples, *, classes: int) -> Feed:
        """The feed for a training part; ``classes`` is 0 where there are none."""
        ...


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
    """What happens to a training image; applied in the order below, to whole batches.

    Attributes:
        shift: largest shift in pixels, in each direction, over a black border, or a mirrored one if images are warped.
        flip: mirror half of the images left to right.
        warp: share of the images that are turned, zoomed, stretched and sheared about their centre; 0 for none.
        rotation: largest angle of a warped image, in degrees.
        zoom, aspect: largest natural logarithm of its scale, and of its width's against its height's.
        shear: largest horizontal shear.
        contrast: contrast is multiplied by 1 -/+ this, around the middle grey.
        brightness: intensities move by up to this, of 255.
        colour: each channel moves by up to this, of 255; only for colour images.
        saturation: distance from grey is multiplied by 1 -/+ this; only for colour images.
        greyscale: share of the colour images that lose their colour.
        noise: standard deviation of the normal noise on each intensity, of 255.
        cutout: edge in pixels of a square that is painted over, centred anywhere in the image; 0 for none.
        cutout_share: share of the images it happens to.
        cutout_fill: intensity of the square.
        mixup: share of the images that are blended with another of the batch, labels alike.
        mixup_limit: largest weight of the other image.
        cutmix: share of the images that get a rectangle of another, labels alike; never one that is blended.
        cutmix_limit: largest area of the rectangle, as a share of the image.
    """

    shift: int = 0
    flip: bool = False
    warp: float = 0.0
    rotation: float = 15.0
    zoom: float = 0.2
    aspect: float = 0.1
    shear: float = 0.1
    contrast: float = 0.0
    brightness: float = 0.0
    colour: float = 0.0
    saturation: float = 0.0
    greyscale: float = 0.0
    noise: float = 0.0
    cutout: int = 0
    cutout_share: float = 1.0
    cutout_fill: int = 0
    mixup: float = 0.0
    mixup_limit: float = 0.5
    cutmix: float = 0.0
    cutmix_limit: float = 0.5

    def __post_init__(self) -> None:
        if self.mixup + self.cutmix > 1:
            raise ValueError("mixup and cutmix are shares of the same images; together they are at most 1")


@dataclass(frozen=True, kw_only=True)
class ImagePipeline:
    """Raw pixels: uint8 in, uint8 to the network; normalisation is the network's first layer.

    Attributes:
        steps: what the service does to an image that does not have the input's size and channels.
    """

    input_name: str = field(default="pixels", metadata=FIXED)
    steps: tuple[TransformStep, ...] = field(metadata=FIXED)
    augmentation: ImageAugmentation = ImageAugmentation()

    def bind(self, train: Examples, *, classes: int) -> Feed:
        """The feed for images of the shape of ``train``."""
        from training.image_batches import ImageFeed

        assert isinstance(train.instances, np.ndarray)  # an image recipe has an image data set
        return ImageFeed(pipeline=self, shape=train.instances.shape[1:], classes=classes)


@dataclass(frozen=True, kw_only=True)
class TextAugmentation:
    """What happens to a training text, before it is cut to the maximum length.

    Attributes:
        word_dropout: share of the tokens that become the unknown token.
        crop: share of the texts of which only a random stretch is kept, so that short texts are learnt too.
        crop_minimum, crop_maximum: length of the stretch in tokens, drawn evenly on a logarithmic scale.
        crop_at_end: share of the stretches that are the text's end; the others lie anywhere.
        first_epochs: for this many epochs ...
        first_length: ... texts are cut to this many tokens, which is faster.
    """

    word_dropout: float = 0.0
    crop: float = 0.0
    crop_minimum: int = 12
    crop_maximum: int = 250
    crop_at_end: float = 0.5
    first_epochs: int = 0
    first_length: int = 96


@dataclass(frozen=True, kw_only=True)
class TextPipeline:
    """Token ids of ``contract.tokenizer``; batches hold texts of similar length.

    Attributes:
        vocabulary_size: most ids, padding and unknown included.
        max_length: most tokens of a text.
        keep: which end of a longer text is kept.
        bucket: batches are padded to a multiple of this many tokens.
    """

    input_name: str = field(default="token_ids", metadata=FIXED)
    vocabulary_size: int
    max_length: int
    keep: Literal["first", "last"] = "last"
    bucket: int = 32
    augmentation: TextAugmentation = TextAugmentation()

    def bind(self, train: Examples, *, classes: int) -> Feed:
        """The feed with a vocabulary of the most frequent tokens of ``train``, and of nothing else."""
        from training.text_batches import TextFeed

        assert isinstance(train.instances, tuple)  # a text recipe has a text data set
        tokens = most_frequent_tokens(train.instances, limit=self.vocabulary_size - 2)
        tokenizer = Tokenizer(tokens, max_length=self.max_length, keep=self.keep)
        return TextFeed(pipeline=self, tokenizer=tokenizer, classes=classes)


@dataclass(frozen=True, kw_only=True)
class NumberPipeline:
    """Rows of numbers, float32 in and out, unchanged."""

    input_name: str = field(default="x", metadata=FIXED)

    def bind(self, train: Examples, *, classes: int) -> Feed:
        """The feed for rows of the width of ``train``."""
        from training.number_batches import NumberFeed

        assert isinstance(train.instances, np.ndarray)  # a recipe of numbers has a data set of numbers
        return NumberFeed(pipeline=self, shape=train.instances.shape[1:])
