"""The contract of an imported model: tensors of its graph, and labels and pre-processing from the command."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from app.contract.derive import derive
from app.contract.files.regular import read_file, shown
from app.contract.model_spec import NAME_RULE, ModelSpec, is_model_name
from app.contract.steps import MOST_LABELS, Classification, ImagePreprocessing, Preprocessing, TextPreprocessing
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import Scheme, Tokenizer
from app.contract.transforms import check_steps
from app.errors import ServingError, VersionRefused
from training.errors import SourceRefused
from training.importing.entrance import Entrance
from training.importing.image_input import ImageOptions, image_entrance
from training.importing.sources.source import Source

LABELS_LIMIT_BYTES = 32 * 2**20
TOKENS = "token_ids"


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How a text becomes token ids.

    Attributes:
        vocabulary: file with one token per line; line i (from 0) has id i + 2.
        max_length, keep, scheme: as in ``TextPreprocessing``.
    """

    vocabulary: Path | None = None
    max_length: int = 256
    keep: Literal["first", "last"] = "first"
    scheme: Scheme = "words"


@dataclass(frozen=True, kw_only=True)
class Described:
    """A contract with what belongs to it.

    Attributes:
        spec: becomes model.json.
        entrance: what turns the input of the contract into that of the model; None: they are the same.
        tokenizer: of a text model.
        alone: why instances cannot share a batch; empty if they may.
    """

    spec: ModelSpec
    entrance: Entrance | None
    tokenizer: Tokenizer | None
    alone: str


def check_name(name: str) -> None:
    """Refuse a name that model.json does not allow.

    Raises:
        SourceRefused: states the rule.
    """
    if not is_model_name(name):
        raise SourceRefused(f"--name is {shown(name)!r}; {NAME_RULE}")


def read_labels(path: Path) -> tuple[str, ...]:
    """One label a line, UTF-8.

    Raises:
        SourceRefused: the file cannot be read, has an empty line, fewer than two labels or too many.
    """
    try:
        text = read_file(path, LABELS_LIMIT_BYTES).decode("utf-8")
    except OSError as error:
        raise SourceRefused(f"{shown(path)}: {error.strerror}") from error
    except (VersionRefused, UnicodeDecodeError) as error:
        raise SourceRefused(f"{shown(path)}: {error}") from error
    labels = tuple(line.strip() for line in text.splitlines())
    if "" in labels:
        raise SourceRefused(f"{shown(path)}: line {labels.index('') + 1} is empty; each line is one label")
    if not 2 <= len(labels) <= MOST_LABELS:
        raise SourceRefused(f"{shown(path)} has {len(labels)} labels; 2 to {MOST_LABELS} are accepted")
    return labels


def describe(
    source: Source,
    *,
    name: str,
    labels: Sequence[str],
    image: ImageOptions | None,
    text: TextOptions | None,
    description: str,
    trained_on: str,
    frameworks: dict[str, str],
) -> Described:
    """The contract of a model.

    Args:
        source: the model.
        name: of the model.
        labels: names of the scores; empty without them.
        image, text: the pre-processing, at most one of them.
        description, trained_on, frameworks: as in model.json.

    Raises:
        SourceRefused: the labels or the pre-processing do not fit the model, or a rule of model.json is broken.
    """
    try:
        graph, alone = derive(name, source.facts)
    except VersionRefused as error:
        raise SourceRefused(f"{source.path}: {error.message}") from error
    for tensor in (*graph.inputs, *graph.outputs):
        if tensor.is_bfloat16:
            raise SourceRefused(
                f"{source.path}: {tensor.name!r} is a bfloat16, which is not imported. The file can be served as it is"
            )
    if not graph.batched:
        raise SourceRefused(
            f"{source.path}: {alone}, so instances cannot be told apart; a version requires a batch dimension first in "
            "every tensor. An ONNX file can be served as a bare graph"
        )
    inputs = tuple(_plain(tensor) for tensor in graph.inputs)
    outputs = tuple(_plain(tensor) for tensor in graph.outputs)
    entrance: Entrance | None = None
    steps: ImagePreprocessing | TextPreprocessing | None = None
    tokenizer: Tokenizer | None = None
    if image is not None:
        entrance, steps = image_entrance(_only(inputs, "image"), image)
    elif text is not None:
        entrance, steps, tokenizer = _text(_only(inputs, "text"), text)
    first = _target(inputs, entrance, steps, tokenizer)
    spec = _spec(
        source,
        name=name,
        description=description,
        inputs=first,
        outputs=outputs,
        preprocessing=steps,
        postprocessing=_classification(outputs, labels),
        batching=graph.batching,
        opset=source.opset,
        trained_on=trained_on,
        frameworks=frameworks,
    )
    if isinstance(steps, ImagePreprocessing):
        try:
            check_steps(steps, spec.input(steps.input))
        except VersionRefused as error:
            raise SourceRefused(f"--step: {error.message}") from error
    return Described(spec=spec, entrance=entrance, tokenizer=tokenizer, alone=alone)


def _spec(source: Source, **fields: Any) -> ModelSpec:
    try:
        return ModelSpec(**fields)
    except ValidationError as error:
        raise SourceRefused(f"{source.path}: {error.errors()[0]['msg']}") from error


def _plain(tensor: TensorSpec) -> TensorSpec:
    return TensorSpec(name=tensor.name, dtype=tensor.dtype, shape=tensor.shape)


def _only(inputs: tuple[TensorSpec, ...], kind: str) -> TensorSpec:
    if len(inputs) > 1:
        raise SourceRefused(
            f"--as {kind} requires a model with one input; it has {', '.join(each.in_words for each in inputs)}"
        )
    return inputs[0]


def _target(
    inputs: tuple[TensorSpec, ...],
    entrance: Entrance | None,
    steps: Preprocessing | None,
    tokenizer: Tokenizer | None,
) -> tuple[TensorSpec, ...]:
    """The inputs of the contract."""
    if entrance is not None:
        return (entrance.target,)
    if tokenizer is not None:
        return (_ids(inputs[0].name, tokenizer),)
    return inputs


def _ids(name: str, tokenizer: Tokenizer) -> TensorSpec:
    return TensorSpec(name=name, dtype="int32", shape=(-1,), minimum=0, maximum=tokenizer.id_count - 1)


def _text(
    tensor: TensorSpec, options: TextOptions
) -> tuple[Entrance | None, TextPreprocessing | None, Tokenizer | None]:
    """A text for a model that reads strings needs nothing; for one that reads ids, the vocabulary."""
    if tensor.is_string:
        if options.vocabulary is not None:
            raise SourceRefused(f"the input {tensor.in_words} takes texts as they are; leave out --vocabulary")
        if any(size not in {1, -1} for size in tensor.shape):
            raise SourceRefused(f"--as text requires one string per instance; the input is {tensor.in_words}")
        return None, None, None
    if options.vocabulary is None:
        raise SourceRefused(f"--as text requires --vocabulary, since the input is {tensor.in_words} and not strings")
    if tensor.shape != (-1,):
        raise SourceRefused(
            f"--as text requires token ids of any length, shape (any,); the input is {tensor.in_words}. Save the model "
            "with an input of shape (None,), or import it without --as text"
        )
    try:
        tokenizer = Tokenizer.read(
            options.vocabulary, max_length=options.max_length, keep=options.keep, scheme=options.scheme
        )
    except ServingError as error:
        raise SourceRefused(f"--vocabulary: {error.message}") from error
    name = tensor.name if tensor.dtype == "int32" else TOKENS
    steps = _text_steps(name, options)
    entrance = None if tensor.dtype == "int32" else Entrance(target=_ids(name, tokenizer), source=tensor)
    return entrance, steps, tokenizer


def _text_steps(name: str, options: TextOptions) -> TextPreprocessing:
    try:
        return TextPreprocessing(input=name, max_length=options.max_length, keep=options.keep, scheme=options.scheme)
    except ValidationError as error:
        raise SourceRefused(f"--max-length is {options.max_length}: {error.errors()[0]['msg']}") from error


def _classification(outputs: tuple[TensorSpec, ...], labels: Sequence[str]) -> Classification | None:
    """The only output with as many scores as there are labels."""
    if not labels:
        return None
    fitting = [each for each in outputs if each.dtype == "float32" and each.shape == (len(labels),)]
    if len(fitting) != 1:
        found = ", ".join(each.in_words for each in outputs)
        which = "several outputs have" if fitting else "no output has"
        raise SourceRefused(f"--labels has {len(labels)} labels, and {which} {len(labels)} float32 scores: {found}")
    return Classification(output=fitting[0].name, labels=tuple(labels))
