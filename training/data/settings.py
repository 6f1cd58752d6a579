"""Settings of the pipelines that make batches of instances. Imports no TensorFlow."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from app.contract.steps import TransformStep
from app.contract.tokenizer import Scheme
from training.bounds import Bounded, Bounds, Count, CountOrZero, Intensity, Share, ZeroOrMore
from training.overrides import FIXED


@dataclass(frozen=True, kw_only=True)
class Span:
    """The epochs that a training data set yields in sequence.

    Attributes:
        first_epoch: 0, or the epoch at which an interrupted run continues; epoch e gives the same batches in either
            case.
        epochs: number of epochs of the whole run.
        batch_size: instances of each batch; a remainder that does not fill a batch is left out of the epoch.
        seed: the seed and the epoch's number determine order, augmentation and noise.
        max_length: for texts: most tokens, if different from the pipeline's.
    """

    first_epoch: int = 0
    epochs: int
    batch_size: int
    seed: int
    max_length: int | None = None


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation(Bounded):
    """Augmentation of training images; applied in the order below, to whole batches.

    Attributes:
        shift: largest shift in pixels, in each direction, over a black border, or a mirrored one if images are warped.
        flip: mirror half of the images left to right.
        warp: share of the images that are rotated, zoomed, stretched and sheared about their centre; 0 for none.
        rotation: largest angle of a warped image, in degrees.
        zoom, aspect: largest natural logarithm of its scale, and of its width relative to its height.
        shear: largest horizontal shear.
        contrast: contrast is multiplied by 1 -/+ this, around the middle grey.
        brightness: intensities change by up to this, of 255.
        colour: each channel changes by up to this, of 255; only for colour images.
        saturation: distance from grey is multiplied by 1 -/+ this; only for colour images.
        greyscale: share of the colour images that lose their colour.
        noise: standard deviation of the normal noise on each intensity, of 255.
        cutout: edge in pixels of a square that is painted over, centred anywhere in the image; 0 for none.
        cutout_share: share of the images with such a square.
        cutout_fill: intensity of the square.
        mixup: share of the images that are blended with another of the batch, as are their labels.
        mixup_limit: largest weight of the other image.
        cutmix: share of the images that get a rectangle of another, as do their labels; never a blended image.
        cutmix_limit: largest area of the rectangle, as a share of the image.
    """

    shift: CountOrZero = 0
    flip: bool = False
    warp: Share = 0.0
    rotation: ZeroOrMore = 15.0
    zoom: ZeroOrMore = 0.2
    aspect: ZeroOrMore = 0.1
    shear: ZeroOrMore = 0.1
    contrast: Share = 0.0
    brightness: Intensity = 0.0
    colour: Intensity = 0.0
    saturation: Share = 0.0
    greyscale: Share = 0.0
    noise: Intensity = 0.0
    cutout: CountOrZero = 0
    cutout_share: Share = 1.0
    cutout_fill: Annotated[int, Bounds(at_least=0, at_most=255)] = 0
    mixup: Share = 0.0
    mixup_limit: Share = 0.5
    cutmix: Share = 0.0
    cutmix_limit: Share = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mixup + self.cutmix > 1:
            raise ValueError("mixup and cutmix are shares of the same images; their sum must be at most 1")

    @property
    def blends(self) -> bool:
        """Whether images of a batch, and their targets, are blended."""
        return bool(self.mixup or self.cutmix)


@dataclass(frozen=True, kw_only=True)
class ImageSettings(Bounded):
    """Raw pixels: uint8 in, uint8 to the network; normalisation is the network's first layer.

    Attributes:
        steps: for an image that does not have the input's size and channels: of the service, and of training if the
            data set is files.
        memory_limit_mb: most pixels of files, in MiB, that are kept in memory; a larger data set is decoded again in
            each epoch.
    """

    input_name: str = field(default="pixels", metadata=FIXED)
    steps: tuple[TransformStep, ...] = field(metadata=FIXED)
    augmentation: ImageAugmentation = ImageAugmentation()
    memory_limit_mb: CountOrZero = 512


@dataclass(frozen=True, kw_only=True)
class TextAugmentation(Bounded):
    """Augmentation of training texts, before they are cut to the maximum length.

    Attributes:
        word_dropout: share of the tokens that become the unknown token.
        crop: share of the texts that are cut to a random stretch, so that short texts are learnt too.
        crop_minimum, crop_maximum: length of the stretch in tokens, drawn uniformly on a logarithmic scale.
        crop_at_end: share of the stretches that are at the text's end; the others are anywhere.
        first_epochs: number of first epochs with shorter texts, which is faster.
        first_length: most tokens of a text in these epochs.
    """

    word_dropout: Share = 0.0
    crop: Share = 0.0
    crop_minimum: Count = 12
    crop_maximum: Count = 250
    crop_at_end: Share = 0.5
    first_epochs: CountOrZero = 0
    first_length: Count = 96


@dataclass(frozen=True, kw_only=True)
class TextSettings(Bounded):
    """Token ids of ``contract.tokenizer``; batches hold texts of similar length.

    Attributes:
        vocabulary_size: most ids, padding and unknown included.
        max_length: most tokens of a text.
        keep: the end of a longer text that is kept.
        bucket: batches are padded to a multiple of this many tokens.
    """

    input_name: str = field(default="token_ids", metadata=FIXED)
    vocabulary_size: Count
    max_length: Count
    keep: Literal["first", "last"] = "last"
    bucket: Count = 32
    augmentation: TextAugmentation = TextAugmentation()


@dataclass(frozen=True, kw_only=True)
class NumberSettings:
    """Rows of numbers, float32 in and out, unchanged."""

    input_name: str = field(default="x", metadata=FIXED)


@dataclass(frozen=True, kw_only=True)
class NextTokenSettings(Bounded):
    """Token ids of ``contract.tokenizer``, from passages of running text.

    Attributes:
        vocabulary_size: most ids, padding and unknown included.
        max_length: most tokens that the network reads, and the length of a training window.
        scheme: how text is split.
        word_dropout: share of the read tokens, not of the predicted ones, that become the unknown token.
        count_ngrams: whether the network gets the n-grams of the training part, as ``Signature.ngrams``.
    """

    input_name: str = field(default="token_ids", metadata=FIXED)
    vocabulary_size: Count
    max_length: Count
    scheme: Scheme = "lines"
    count_ngrams: bool = False
    word_dropout: Share = 0.0
