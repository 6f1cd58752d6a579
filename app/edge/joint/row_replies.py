"""The replies to several requests, printed together: one text of all numbers, cut by row."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from weakref import ref

import orjson

from app.batching.work import Answer
from app.edge.codec.json_dump import NUMBERS_AT_ONCE
from app.edge.rest.tfs import print_classify, print_predict
from app.loaded import LoadedModel
from app.runtime.backend import take_rows
from app.types import Array

_BETWEEN_ROWS = b"]],[["


class RowReplies(ABC):
    """How replies are printed.

    Attributes:
        key: equal if the same outputs give the same replies.
    """

    key: tuple[object, ...]

    @abstractmethod
    def bodies(self, outputs: Answer, counts: list[int]) -> list[bytes]:
        """The body of the reply to each request, of which the instances are so many."""


class Predictions(RowReplies):
    """Replies of ``:predict``."""

    key = ("predict",)

    def bodies(self, outputs: Answer, counts: list[int]) -> list[bytes]:
        """See ``RowReplies``."""
        if len(outputs) == 1:
            ((_, values),) = outputs.items()
            if (rows := rows_as_json(values)) is not None:
                return [b'{"predictions":[' + part + b"]}" for part in joined(rows, counts, b",")]
        return [print_predict(part, "row") for part in parts_of(outputs, counts)]


class Classes(RowReplies):
    """Replies of ``:classify``.

    Args:
        model: the version, of which only a weak reference is kept.
        top_k: most labels of a reply.

    Attributes:
        top_k: labels of a reply.
    """

    def __init__(self, model: LoadedModel, top_k: int) -> None:
        self._model = ref(model)
        self._output = model.score_output()
        self.top_k = min(top_k, len(model.labels()))
        self.key = ("classify", self.top_k)

    def bodies(self, outputs: Answer, counts: list[int]) -> list[bytes]:
        """See ``RowReplies``."""
        model = self._model()
        assert model is not None
        ranked = model.ranked(outputs[self._output], top_k=self.top_k)
        start, end = b'{"results":[[[', b"]]]}"
        rows = print_classify(ranked)[len(start) : -len(end)].split(_BETWEEN_ROWS)
        if len(rows) != len(ranked):  # a label contains these characters
            return [print_classify(ranked[first:last]) for first, last in places(counts)]
        return [start + part + end for part in joined(rows, counts, _BETWEEN_ROWS)]


def places(counts: list[int]) -> Iterator[tuple[int, int]]:
    """The first row of each request, and the one after its last."""
    last = 0
    for count in counts:
        first, last = last, last + count
        yield first, last


def parts_of(outputs: Answer, counts: list[int]) -> Iterator[Answer]:
    """The answer to each request."""
    return (take_rows(outputs, first, last) for first, last in places(counts))


def joined(rows: list[bytes], counts: list[int], between: bytes) -> list[bytes]:
    """The texts of the rows of each request, as one text."""
    if len(rows) == len(counts):
        return rows
    return [between.join(rows[first:last]) for first, last in places(counts)]


def rows_as_json(values: Array) -> list[bytes] | None:
    """The text of each row; None if it cannot be cut out of the text of all."""
    if values.ndim not in {1, 2} or values.dtype.kind not in "fiu" or not 0 < values.size <= NUMBERS_AT_ONCE:
        return None
    text = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"n" in text:  # NaN and infinity, which orjson writes as null
        return None
    if values.ndim == 1:
        return text[1:-1].split(b",")
    return [b"[" + row + b"]" for row in text[2:-2].split(b"],[")]
