"""The processing around the graph in model.json: how images and texts become inputs, and what the outputs mean."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from app.contract.tensor_spec import Frozen
from app.contract.tokenizer import Scheme

LONGEST_TEXT = 2**20
MOST_LABELS = 2**17
# Largest edge in pixels of an image input, and of the result of a step.
LONGEST_EDGE = 2048
MOST_STEPS = 16


class TransformStep(Frozen):
    """One named image step of ``contract.transforms`` with its arguments."""

    step: str = Field(max_length=100)
    arguments: dict[str, float | int | bool | str] = Field(default={}, max_length=16)

    @model_validator(mode="after")
    def _is_not_huge(self) -> Self:
        for name, value in self.arguments.items():
            if not isinstance(value, str) and not abs(value) <= LONGEST_EDGE:  # also refuses NaN
                raise ValueError(f"step {self.step!r}: {name} is {value!s:.20}; at most {LONGEST_EDGE} is accepted")
        return self


class ImagePreprocessing(Frozen):
    """Turns an encoded image (PNG, JPEG, ...) into one instance of ``input``.

    Attributes:
        input: name of the input it feeds; uint8, shape (height, width) or (height, width, 3).
        steps: the steps, in order, for an image that does not already have the signature's size and channels.
    """

    kind: Literal["image"] = "image"
    input: str
    steps: tuple[TransformStep, ...] = Field(max_length=MOST_STEPS)


class TextPreprocessing(Frozen):
    """Turns a sentence into one instance of ``input`` with ``contract.tokenizer``.

    Attributes:
        input: name of the input it feeds; int32, shape (-1,): token ids, at least one, without padding.
        vocabulary: file next to model.json with one token per line; line i (from 0) has id i + 2.
        scheme: how a text is split, see ``contract.tokenizer.split_tokens``.
        max_length: most tokens of one text.
        keep: the end of a longer text that is kept.
    """

    kind: Literal["text"] = "text"
    input: str
    scheme: Scheme = "words"
    vocabulary: str = Field(default="vocabulary.txt", max_length=256)
    max_length: int = Field(ge=1, le=LONGEST_TEXT)
    keep: Literal["first", "last"]


Preprocessing = Annotated[ImagePreprocessing | TextPreprocessing, Field(discriminator="kind")]


class Classification(Frozen):
    """Declares that ``output`` contains one probability per label.

    Attributes:
        output: name of a float32 output of shape (classes,).
        labels: the classes in the order of the output.
    """

    kind: Literal["classification"] = "classification"
    output: str
    labels: tuple[str, ...] = Field(min_length=2, max_length=MOST_LABELS)


class NextToken(Frozen):
    """Declares that ``output`` contains the probability that a token comes next, for each id from 1 up.

    Attributes:
        output: name of a float32 output of shape (ids - 1,): padding, id 0, never comes next.
    """

    kind: Literal["next-token"] = "next-token"
    output: str


Postprocessing = Annotated[Classification | NextToken, Field(discriminator="kind")]


class BatchingHints(Frozen):
    """Batching hints from training; serving.json overrides them.

    Attributes:
        max_batch_size: most instances in one backend call. Values above the service's own limits are reduced to them,
            so that a version also serves where these limits are lower than on the machine that trained it.
    """

    max_batch_size: int = Field(default=32, ge=1, le=2**31)
