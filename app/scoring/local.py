"""Scores in this process, with a model of the models directory: the batcher of the service, without HTTP."""

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from app.batching.work import RequestOptions
from app.contract.steps import ImagePreprocessing
from app.contract.strings import string_array
from app.contract.tensor_spec import TensorSpec
from app.contract.tokenizer import pad
from app.edge.codec.strings import print_strings
from app.errors import InvalidInput, ServingError
from app.loaded import LoadedModel
from app.scoring.answers import Columns, class_columns, classified, column_of, output_columns
from app.scoring.rows import Media, Takes, Value
from app.serving.predictor import MOST_ANSWER_BYTES, predict
from app.types import Array

ROWS = 256
CHUNK_BYTES = 32 * 2**20
TIMEOUT_S = 3600.0  # of a chunk: no user waits for it
Instance = dict[str, Array]


class LocalScorer:
    """Answers chunks of instances with a loaded model.

    Args:
        model: loaded; the caller drains it.
        top_k: labels of one row.
    """

    def __init__(self, model: LoadedModel, *, top_k: int) -> None:
        self._model = model
        self._top_k = min(top_k, len(model.classes) or 1)
        self.version = model.version

    @cached_property
    def takes(self) -> Takes:
        """The inputs that the model accepts; optional ones keep their defaults."""
        spec = self._model.spec
        media: Media | None = None
        if isinstance(spec.preprocessing, ImagePreprocessing):
            media = "image"
        elif self._model.tokenizer is not None:
            media = "text"
        elif spec.body_string is not None:
            media = "string"
        shapes = {tensor.name: tensor.shape for tensor in spec.required}
        strings = frozenset(tensor.name for tensor in spec.required if tensor.is_string)
        gaps = frozenset(tensor.name for tensor in spec.required if tensor.accepts_nan)
        return Takes(shapes=shapes, strings=strings, gaps=gaps, media=media)

    @cached_property
    def columns(self) -> Columns:
        """Columns of the answers."""
        return class_columns(self._top_k) if self._model.classes else output_columns(self._model.spec.outputs)

    @cached_property
    def chunk_rows(self) -> int:
        """Rows that fit a chunk: its inputs, its answers and the queue."""
        inputs = sum(tensor.extent(1).nbytes for tensor in self._model.spec.required)
        policy = self._model.batching
        possible = min(CHUNK_BYTES, policy.max_queue_bytes) // max(1, inputs)
        return max(1, min(ROWS, policy.max_queue_rows, possible, MOST_ANSWER_BYTES // max(1, self._model.answer_bytes)))

    def decode(self, value: Value) -> Instance:
        """One instance, (1, *shape) by input name; blocks.

        Raises:
            InvalidInput: the value breaks a rule of the model.
        """
        model = self._model
        if isinstance(value, bytes | str):
            if (only := model.spec.body_string) is not None:
                return {only.name: only.string_rows([value if isinstance(value, bytes) else value.encode()])}
            if isinstance(value, bytes) and model.tokenizer is None:
                return {model.input_for_media(): model.instance_from_image(value)[np.newaxis]}
            return {model.input_for_media(): model.instance_from_text(value)[np.newaxis]}
        return {name: _tensor(values, model.spec.input(name))[np.newaxis] for name, values in value.items()}

    async def score(self, instances: Sequence[Instance]) -> list[dict[str, Any] | ServingError]:
        """The answers by column, or the error, of each instance. If a chunk fails, its halves run, down to one row."""
        try:
            return list(await self._answers(instances))
        except ServingError as error:
            if len(instances) == 1:
                return [error]
        half = len(instances) // 2
        return [*await self.score(instances[:half]), *await self.score(instances[half:])]

    async def _answers(self, instances: Sequence[Instance]) -> list[dict[str, Any]]:
        inputs = {name: _stacked([each[name] for each in instances]) for name in instances[0]}
        model, options = self._model, RequestOptions(timeout_s=TIMEOUT_S)
        outputs = (await predict(model, inputs, options, clock=time.perf_counter)).outputs
        if model.classes:
            ranked = model.ranked(outputs[model.score_output()], top_k=self._top_k)
            return [classified(row, self.columns) for row in ranked]
        printed = {column_of(name): self._printed(column_of(name), values) for name, values in outputs.items()}
        return [{name: values[row] for name, values in printed.items()} for row in range(len(instances))]

    def _printed(self, column: str, values: Array) -> Array | list[Any]:
        """The values of a column, one for each row."""
        if self.columns[column][1] == 0:
            values = values.reshape(len(values))
            if values.dtype.kind in "iu":
                return values.tolist()  # a longlong of NumPy, as ONNX Runtime answers, is not one of its int64 for JSON
        return print_strings(values, b64=False) if values.dtype.kind == "O" else values


def _tensor(values: Any, tensor: TensorSpec) -> Array:
    """The values as an array of one instance."""
    if tensor.is_string:
        listed = np.array(values, object)
        elements = [each.encode() if isinstance(each, str) else each for each in listed.ravel()]
        if not all(isinstance(each, bytes) for each in elements):
            raise InvalidInput(f"input {tensor.name!r} takes strings")
        return string_array(elements, listed.shape)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidInput(f"input {tensor.name!r}: the lists have different lengths") from error
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"input {tensor.name!r} takes numbers of {tensor.instance_in_words}")
    return array


def _stacked(rows: list[Array]) -> Array:
    """All rows as one array; token ids of different lengths are padded.

    Raises:
        InvalidInput: other rows of different shapes.
    """
    if len({row.shape for row in rows}) == 1:
        return np.concatenate(rows)
    if all(row.ndim == 2 and row.dtype == np.int32 for row in rows):
        return pad([row[0] for row in rows])
    raise InvalidInput("instances of different shapes do not share a chunk")
