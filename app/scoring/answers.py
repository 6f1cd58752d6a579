"""The columns of the answers, and the answers to rows as records."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.contract.tensor_spec import TensorSpec

ID, ERROR = "id", "error"

# Column -> dtype as in model.json, and the rank of one value.
Columns = Mapping[str, tuple[str, int]]


def class_columns(top_k: int) -> dict[str, tuple[str, int]]:
    """``label`` and ``score``, or ``label_1``, ``score_1``, ``label_2``, ..."""
    ends = [""] if top_k == 1 else [f"_{number}" for number in range(1, top_k + 1)]
    return {f"{name}{end}": (dtype, 0) for end in ends for name, dtype in (("label", "string"), ("score", "float32"))}


def output_columns(outputs: Sequence[TensorSpec]) -> Columns:
    """One column for each output; one called id or error gets another name. An output of one value is not a list."""
    return {column_of(each.name): (each.dtype, 0 if {*each.shape} == {1} else len(each.shape)) for each in outputs}


def alone(value: Any, column: tuple[str, int]) -> Any:
    """The value of a column: without lists, if the column has none."""
    while column[1] == 0 and isinstance(value, list) and len(value) == 1:
        [value] = value
    return value


def column_of(output: str) -> str:
    """The column of an output."""
    return f"{output}_output" if output in {ID, ERROR} else output


def classified(ranked: Sequence[tuple[str, float]], columns: Columns) -> dict[str, Any]:
    """Labels and scores of one row, by column."""
    return dict(zip(columns, (value for pair in ranked for value in pair), strict=False))


def record(row_id: str, answer: Mapping[str, Any], error: str | None = None) -> dict[str, Any]:
    """One row of the output."""
    return {ID: row_id, **answer, ERROR: error}
