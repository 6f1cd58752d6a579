"""From instances to batches: the interface of a pipeline, and the six pipelines.

A pipeline is bound to a training part once (text builds its vocabulary there) and becomes a ``Feed``. Importing this
module does not import TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from app.contract.steps import ImagePreprocessing, TextPreprocessing, TransformStep
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import Tokenizer, most_frequent_tokens
from training.data.array_inputs import FittedArrays, check_range, fit_arrays
from training.data.settings import ImageSettings, NextTokenSettings, NumberSettings, Span, TextSettings
from training.data.table_columns import FittedColumns, fit_columns
from training.data.trigram import NgramTables, Trigram
from training.datasets.splits import Classes, Examples, Splits
from training.errors import SettingRefused
from training.overrides import FIXED


class Feed(Protocol):
    """A pipeline bound to a training part.

    Attributes:
        input: first input of the network.
        inputs: all of them.
        table: for tables: what the training part says of the columns; None otherwise.
        arrays: for named arrays: what it says of each; None otherwise.
        ngrams: for running text: its frequent n-grams, if the pipeline counts them; None otherwise.
        preprocessing: how the service creates it from an encoded image or a text.
        tokenizer: for text; None otherwise.
    """

    @property
    def input(self) -> TensorSpec: ...  # noqa: D102
    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...  # noqa: D102
    @property
    def table(self) -> FittedColumns | None: ...  # noqa: D102
    @property
    def arrays(self) -> FittedArrays | None: ...  # noqa: D102
    @property
    def ngrams(self) -> NgramTables | None: ...  # noqa: D102
    @property
    def preprocessing(self) -> ImagePreprocessing | TextPreprocessing | None: ...  # noqa: D102
    @property
    def tokenizer(self) -> Tokenizer | None: ...  # noqa: D102

    def rows(self, examples: Examples) -> int:
        """Rows that an epoch of ``training`` draws from."""
        ...

    def training(self, examples: Examples, span: Span) -> Any:
        """tf.data.Dataset of (inputs, targets), shuffled and augmented, epoch by epoch; and weights, if rows have some.

        Targets of classes are one-hot float32 (batch, classes); those of several heads are a dict by name. Weights are
        float32 (batch,); no other data set of a feed has them, so figures of held-out rows are unweighted.
        """
        ...

    def watched(self, examples: Examples, *, batch_size: int) -> Any:
        """tf.data.Dataset of (inputs, targets) for evaluations during training: as ``training``, but one pass."""
        ...

    def evaluation(self, examples: Examples, *, batch_size: int) -> tuple[Any, npt.NDArray[np.intp]]:
        """tf.data.Dataset of (inputs, targets), cached, and for each of its rows the index in ``truth``."""
        ...

    def truth(self, examples: Examples) -> npt.NDArray[Any]:
        """The correct answers of the network, in the form of the recipe's task."""
        ...

    def sample(self, examples: Examples, rows: int) -> Examples:
        """A part of ``examples`` that gives about ``rows`` rows of ``truth``; the examples are in random order."""
        ...

    def described(self, examples: Examples) -> Mapping[str, Any]:
        """Input -> its statistics, for drift detection."""
        ...


class Pipeline(Protocol):
    """Settings of a pipeline."""

    def open(self, splits: Splits) -> Splits:
        """The same parts, with instances that can be batched; called once, before ``bind``.

        Raises:
            DataUnusable: a file of the data set cannot be read.
            SettingRefused: a setting does not match the data.
        """
        ...

    def bind(self, train: Examples, *, classes: Classes) -> Feed:
        """The feed for a training part; ``classes`` is that of the data set."""
        ...


class AsItIs:
    """Part of a pipeline whose data sources give instances, not files."""

    def open(self, splits: Splits) -> Splits:
        """The same parts."""
        return splits


@dataclass(frozen=True, kw_only=True)
class ImagePipeline(ImageSettings):
    """Raw pixels: uint8 in, uint8 to the network. Settings as in ``ImageSettings``."""

    def open(self, splits: Splits) -> Splits:
        """Decode files with the steps; a data set of pixels stays as it is."""
        if not isinstance(splits.train.instances, tuple):
            return splits
        from training.data.image_files import decoder_of, open_files

        return open_files(splits, decoder_of(self), limit_bytes=self.memory_limit_mb * 2**20)

    def bind(self, train: Examples, *, classes: Classes) -> Feed:
        """The feed for images of the shape of ``train``."""
        from training.data.image_batches import ImageFeed

        assert not isinstance(train.instances, tuple)  # image recipes have image data sets, which are open
        if train.labels.dtype.names and self.augmentation.blends:
            raise SettingRefused("mixup and cutmix blend the targets of one output; set both to 0 for several heads")
        return ImageFeed(pipeline=self, shape=train.instances.shape[1:], classes=classes)


@dataclass(frozen=True, kw_only=True)
class TextPipeline(TextSettings, AsItIs):
    """Texts as token ids, batched by similar length. Settings as in ``TextSettings``."""

    def bind(self, train: Examples, *, classes: Classes) -> Feed:
        """The feed with a vocabulary of the most frequent tokens of ``train`` only."""
        from training.data.text_batches import TextFeed

        assert isinstance(train.instances, tuple)  # a text recipe has a text data set
        tokens = most_frequent_tokens(train.instances, limit=self.vocabulary_size - 2)
        tokenizer = Tokenizer(tokens, max_length=self.max_length, keep=self.keep)
        return TextFeed(pipeline=self, tokenizer=tokenizer, classes=classes)


@dataclass(frozen=True, kw_only=True)
class NumberPipeline(NumberSettings, AsItIs):
    """Rows of numbers, unchanged. Settings as in ``NumberSettings``."""

    def bind(self, train: Examples, *, classes: Classes) -> Feed:
        """The feed for rows of the width of ``train``."""
        from training.data.number_batches import NumberFeed

        assert isinstance(train.instances, np.ndarray)  # a recipe of numbers has a data set of numbers
        return NumberFeed(pipeline=self, shape=train.instances.shape[1:], classes=classes)


@dataclass(frozen=True, kw_only=True)
class NextTokenPipeline(NextTokenSettings, AsItIs):
    """Windows of running text, and the next token of each. Settings as in ``NextTokenSettings``."""

    def bind(self, train: Examples, *, classes: Classes) -> Feed:
        """The feed with a vocabulary of the most frequent tokens of ``train`` only, and its n-grams."""
        from training.data.next_token_batches import NextTokenFeed

        assert isinstance(train.instances, tuple)  # a text recipe has a text data set
        tokens = most_frequent_tokens(train.instances, limit=self.vocabulary_size - 2, scheme=self.scheme)
        tokenizer = Tokenizer(tokens, max_length=self.max_length, keep="last", scheme=self.scheme)
        feed = NextTokenFeed(pipeline=self, tokenizer=tokenizer)
        if not self.count_ngrams:
            return feed
        trigram = Trigram(feed.passages(train), vocabulary=tokenizer.id_count - 1)
        return replace(feed, ngrams=trigram.tables())


@dataclass(frozen=True, kw_only=True)
class TablePipeline(AsItIs):
    """Rows of a table: one input for each column, raw. The network contains their encoding."""

    def bind(self, train: Examples, *, classes: Classes) -> Feed:
        """The feed with the mean, the deviation and the categories of the columns of ``train`` only."""
        from training.data.table_batches import TableFeed

        assert isinstance(train.instances, np.ndarray)  # a recipe of a table has a table
        return TableFeed(table=fit_columns(train.instances, train.labels), classes=classes)


@dataclass(frozen=True, kw_only=True)
class ArrayPipeline:
    """Named arrays: one input for each, raw.

    Attributes:
        largest: name of an array of whole numbers -> the largest that the network accepts, if the training part may
            lack it, for example the last id of a vocabulary.
        image: name of the array of pixels that clients may also send as a picture file; empty for none.
        steps: what the service does with such a file.
    """

    largest: Mapping[str, int] = field(default_factory=dict, metadata=FIXED, hash=False)
    image: str = field(default="", metadata=FIXED)
    steps: tuple[TransformStep, ...] = field(default=(), metadata=FIXED)

    def open(self, splits: Splits) -> Splits:
        """The same parts; a whole number that only the validation part has is refused now."""
        fitted = fit_arrays(np.asarray(splits.train.instances), self.largest)
        names = [tensor.name for tensor in fitted.inputs]
        for name in (*self.largest, *([self.image] if self.image else [])):
            if name not in names:
                raise SettingRefused(f"pipeline names the array {name!r}; the inputs are {', '.join(names)}")
        check_range(fitted.inputs, "validation", splits.validation)
        return splits

    def bind(self, train: Examples, *, classes: Classes) -> Feed:
        """The feed with the range of each array of ``train`` only."""
        from training.data.array_batches import ArrayFeed

        assert isinstance(train.instances, np.ndarray)  # a recipe of arrays has a data set of arrays
        image = ImagePreprocessing(input=self.image, steps=self.steps) if self.image else None
        fitted = fit_arrays(train.instances, self.largest)
        return ArrayFeed(arrays=fitted, classes=classes, preprocessing=image)
