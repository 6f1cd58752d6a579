"""baseline.json of a version as measures: the distributions of its training data that served rows are compared with."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson

from app.contract.model_spec import ModelSpec
from app.contract.steps import Classification
from app.drift.bins import NamedBins, NumberBins
from app.drift.measures import (
    Measure,
    best,
    elements,
    largest,
    lengths,
    means,
    texts,
    unknown_shares,
)

log = logging.getLogger("atelier.drift")

BASELINE_FILE = "baseline.json"
BASELINE_LIMIT_BYTES = 16 * 2**20
_QUANTILES = (1, 5, 25, 50, 75, 95, 99)
_LAST_PART = _QUANTILES[-1]


def measures_of(data: bytes, spec: ModelSpec) -> tuple[Measure, ...]:
    """The measures that a baseline has figures for. A version whose baseline cannot be used is served without them.

    Args:
        data: baseline.json.
        spec: of the version.
    """
    try:
        document = orjson.loads(data)
        found = [*_of_predictions(document.get("predictions", {}), spec)]
        for name, entry in document.get("inputs", {}).items():
            if any(tensor.name == name for tensor in spec.inputs):
                found += _of_input(name, entry)
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        log.warning("model %s: its drift is not measured: %s cannot be used: %s", spec.name, BASELINE_FILE, error)
        return ()
    return tuple(found)


def _of_input(name: str, entry: Mapping[str, Any]) -> Iterator[Measure]:
    kind, rows = entry["kind"], int(entry["rows"])
    common: dict[str, Any] = {"name": name, "expected_rows": rows}
    if kind == "categories":
        shares = entry["shares"]
        yield Measure(kind="input", **common, **_named(list(shares), list(shares.values())), reduce=texts)
    if kind in {"image", "numbers"} and "histogram" in entry:
        missing = float(entry["missing"]) if "missing" in entry else None
        yield Measure(kind="input", **common, **_histogram(entry["histogram"], missing), reduce=elements)
    if kind == "image" and "mean_per_image" in entry:
        yield from _quantiles("brightness", entry["mean_per_image"], common, means)
    if kind == "text":
        if "histogram" in entry:
            yield Measure(kind="length", **common, **_histogram(entry["histogram"]), reduce=lengths)
        yield from _quantiles("unknown_words", entry["unknown_share"], common, unknown_shares)


def _of_predictions(entry: Mapping[str, Any], spec: ModelSpec) -> Iterator[Measure]:
    common: dict[str, Any] = {"expected_rows": int(entry.get("rows", 0)), "is_output": True}
    step = spec.postprocessing
    if step is None:
        if "histogram" in entry and len(spec.outputs) == 1:
            histogram = _histogram(entry["histogram"])
            yield Measure(kind="prediction", name=spec.outputs[0].name, **common, **histogram, reduce=elements)
        return
    if "confidence" not in entry:  # sets of labels, whose scores do not sum to 1
        return
    if isinstance(step, Classification) and tuple(entry["predicted_shares"]) == step.labels:
        named = _named(list(range(len(step.labels))), list(entry["predicted_shares"].values()))
        yield Measure(kind="prediction", name=step.output, **common, **named, reduce=best)
    histogram = _histogram(entry["confidence"]["histogram"])
    yield Measure(kind="confidence", name=step.output, **common, **histogram, reduce=largest)


def _named(values: list[Any], shares: list[float]) -> dict[str, Any]:
    known = np.array(shares, np.float64)
    expected = np.append(known, max(0.0, 1 - known.sum()))
    return {
        "bins": NamedBins({value: place for place, value in enumerate(values)}),
        "expected": expected / expected.sum(),
    }


def _histogram(histogram: Mapping[str, Any], missing: float | None = None) -> dict[str, Any]:
    """Bins and shares of a histogram, as ``numpy.histogram`` counts them; and of missing values, if they are counted.

    Raises:
        ValueError: it has not one share for each pair of edges, or none is above 0.
    """
    edges, shares = np.array(histogram["edges"], np.float64), np.array(histogram["shares"], np.float64)
    if len(edges) != len(shares) + 1 or not shares.sum() > 0:
        raise ValueError(f"a histogram has {len(edges)} edges and {len(shares)} shares")
    shares = shares / shares.sum()
    if missing is not None:
        shares = np.append(shares * (1 - missing), missing)
    return {"bins": NumberBins(edges[1:-1], has_missing=missing is not None), "expected": shares}


def _quantiles(kind: Any, quantiles: Mapping[str, float], common: dict[str, Any], reduce: Any) -> Iterator[Measure]:
    """A measure from the values at some percentiles, or from a mean alone.

    A value at several percentiles has an unknown share of the rows for itself. It is no bound, unless it is the highest
    one: then at most 1 % of the rows are above it.
    """
    if f"p{_LAST_PART}" not in quantiles:
        shares = np.array([1 - quantiles["mean"], quantiles["mean"]])
        yield Measure(kind=kind, **common, bins=_Proportion(), expected=shares, reduce=reduce)
        return
    values = [float(quantiles[f"p{part}"]) for part in _QUANTILES]
    parts = {value: part / 100 for value, part in zip(values, _QUANTILES, strict=True)}
    bounds = [value for value in parts if values.count(value) == 1 or value == values[-1]]
    shares = np.diff([0.0, *(parts[value] for value in bounds), 1.0])
    bins = NumberBins(np.array(bounds), above=False)
    yield Measure(kind=kind, **common, bins=bins, expected=shares, reduce=reduce)


class _Proportion:
    """Two bins for a value from 0 to 1: a row counts in the second one with its value, in the first with the rest."""

    count = 2

    def counted(self, values: Any) -> Any:
        """See ``Bins``."""
        share = float(values.sum())
        return np.array([len(values) - share, share])
