"""What the publisher of a version says of it, for people to read: the figure of its test, and its card."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.contract.version_files import VersionFiles
from app.errors import VersionRefused

METRICS_FILE, METRICS_LIMIT_BYTES = "metrics.json", 8 * 2**20
CARD_FILE, CARD_LIMIT_BYTES = "card.md", 256 * 2**10
# What is not known, or cannot be read.
UNKNOWN = "-"
_FIGURES = {
    "perplexity": "perplexity {:.1f}",
    "accuracy": "accuracy {:.4f}",
    "micro_f1": "micro F1 {:.4f}",
    "rmse": "RMSE {:.4g}",
}

log = logging.getLogger("atelier.lifecycle")


@dataclass(frozen=True, slots=True)
class Said:
    """Of one version. No answer depends on it.

    Attributes:
        measured: the figure of the test set, in words; empty if there is none.
        card: Markdown; empty without one.
    """

    measured: str = ""
    card: str = ""

    @classmethod
    def read(cls, files: VersionFiles) -> "Said":
        """From metrics.json and card.md. A file that breaks a rule is reported in the log and left out."""
        return cls(
            measured=_read(files, METRICS_FILE, METRICS_LIMIT_BYTES, lambda data: measured(json.loads(data))),
            card=_read(files, CARD_FILE, CARD_LIMIT_BYTES, lambda data: data.decode()),
        )


NOTHING_SAID = Said()


def _read(files: VersionFiles, name: str, limit: int, parse: Callable[[bytes], str]) -> str:
    if not files.has(name):
        return ""
    try:
        return parse(files.read(name, limit))
    except (VersionRefused, ValueError, TypeError, RecursionError) as error:
        log.warning("%s: it is not shown: %s", files.directory / name, error)
        return ""


def measured(metrics: Any) -> str:
    """The figure of the test set that matters most, in words, and what it was measured on.

    Args:
        metrics: metrics.json.

    Raises:
        ValueError, TypeError: it has another form.
    """
    if not isinstance(metrics, dict):
        raise ValueError("metrics.json is not an object")
    if "imported" in metrics:
        return "nothing here; it was imported"
    test, dataset = metrics.get("test") or {}, metrics.get("dataset") or {}
    if not (isinstance(test, dict) and isinstance(dataset, dict)):
        raise ValueError("'test' or 'dataset' of metrics.json is not an object")
    drawn = " (synthetic data)" if dataset.get("form") == "synthetic" else ""
    return f"{_figure(test)} on test data{drawn}"


def _figure(test: Mapping[str, Any]) -> str:
    """Of each output."""
    if "heads" in test:
        return ", ".join(f"{name} {_figure(figures)}" for name, figures in dict(test["heads"]).items())
    return next((form.format(test[name]) for name, form in _FIGURES.items() if name in test), UNKNOWN)
