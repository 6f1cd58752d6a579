"""Typical values of the inputs in the training data, from baseline.json, to be put in place of what is hidden."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson

log = logging.getLogger("atelier.drift")

Typical = float | str

BACKGROUND_SHARE = 1 / 3
"""A bin with more of the pixels than this is the background of the images."""


def typical_values(data: bytes) -> dict[str, Typical]:
    """Input -> a typical value, for those inputs of which a baseline has figures.

    Of numbers it is their mean, of categories the most frequent one. Of images it is the mean of all pixels, or their
    background: the edge of the lowest or highest bin of the histogram, or the middle of another one, if that bin has
    more than ``BACKGROUND_SHARE`` of all pixels.

    Args:
        data: baseline.json. One that cannot be read gives no values.
    """
    try:
        inputs = orjson.loads(data).get("inputs", {})
        found = {name: _of_input(entry) for name, entry in inputs.items()}
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        log.warning("baseline.json has no typical values: %s", error)
        return {}
    return {name: value for name, value in found.items() if value is not None}


def _of_input(entry: Mapping[str, Any]) -> Typical | None:
    kind = entry["kind"]
    if kind == "categories":
        shares: Mapping[str, float] = entry["shares"]
        return max(shares, key=lambda each: shares[each]) if shares else None
    if kind == "image":
        background = _background(entry["histogram"]) if "histogram" in entry else None
        return _mean(entry) if background is None else background
    return _mean(entry) if kind == "numbers" else None


def _mean(entry: Mapping[str, Any]) -> float | None:
    return float(entry["mean"]) if "mean" in entry else None


def _background(histogram: Mapping[str, Any]) -> float | None:
    edges, shares = histogram["edges"], histogram["shares"]
    place = max(range(len(shares)), key=lambda each: float(shares[each]))
    if float(shares[place]) <= BACKGROUND_SHARE * sum(shares):
        return None
    if place == 0:
        return float(edges[0])
    if place == len(shares) - 1:
        return float(edges[-1]) - 1
    return (float(edges[place]) + float(edges[place + 1])) / 2
