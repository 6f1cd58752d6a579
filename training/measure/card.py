"""The main facts about a run, and the model card with them."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from app.contract.model_spec import LITE_FILE
from training.datasets.splits import SYNTHETIC
from training.measure.card_head import card_head

Document = Mapping[str, Any]

CALIBRATION = "calibration_error"
LIMITS = (
    "It was trained and measured on the data set above; inputs of another kind get answers of unknown quality. It is a "
    "demonstration, not for decisions about people.\n\n"
)
NO_CLASSES = "only classifiers have a temperature"
"""Why a model that does not classify is not calibrated."""

HEADINGS = (
    ("accuracy", "{} accuracy", "{:.4f}"),
    ("perplexity", "{} perplexity", "{:.2f}"),
    ("rmse", "{} root mean squared error", "{:.4g}"),
    ("micro_f1", "{} micro F1", "{:.4f}"),
    ("macro_f1", "{} macro F1", "{:.4f}"),
    ("exact_match", "{} exact match", "{:.4f}"),
    ("log_loss", "{} log loss", "{:.4f}"),
    (CALIBRATION, "{} calibration error", "{:.4f}"),
)
"""Figure of an evaluation -> its name, after the part's, and its format."""


def facts(metrics: Document) -> list[tuple[str, str]]:
    """(name, value) of every fact about a run that fits on a line.

    Args:
        metrics: metrics.json of the run, or of a version of before there were findings, warnings or a calibration.
    """
    data, hardware = metrics["dataset"], metrics["hardware"]
    target = metrics["target"]["test_accuracy"]
    return [
        *_measured("Test", metrics["test"]),
        *_measured("Validation", metrics["validation"]),
        *_calibration(metrics.get("calibration")),
        *((finding["name"], _finding(finding)) for finding in metrics.get("findings", [])),
        ("Target", "none" if target is None else f"test accuracy {target:.3f}"),
        ("Test set", metrics["gate"]),
        *([("Retrained", _retrained(metrics["retrained"]))] if "retrained" in metrics else []),
        ("Trained on", f"{data['counts']['train']} rows of {data['name']} ({data['form']})"),
        ("Parameters", f"{metrics['parameters']:,}"),
        *_exported(metrics.get("export", {})),
        ("Epochs", f"{metrics['epochs']}, weights of epoch {metrics['kept_epoch']}"),
        ("Training time", f"{metrics['seconds']['training']:.0f} s"),
        ("Hardware", f"{hardware['cpu']}, CPU cores: {hardware['cpu_count']}"),
        ("Date", metrics["date"]),
        ("Command", metrics["command"]),
        ("Overrides", ", ".join(metrics["overrides"]) or "none"),
        *(("Warning", sentence) for sentence in metrics.get("warnings", [])),
    ]


def _measured(part: str, evaluation: Document | None) -> list[tuple[str, str]]:
    if evaluation is None:
        return [(f"{part} part", "not measured")]
    (name, value), *others = figures_of(evaluation, part, intervals=True)
    return [(name, f"{value} on {evaluation['rows']} rows"), *others]


def heads_of(evaluation: Document) -> Mapping[str, Document]:
    """Name of each output -> its figures; of a network with one output ``""`` -> all figures."""
    found: Mapping[str, Document] = evaluation.get("heads") or {"": evaluation}
    return found


def figures_of(evaluation: Document, part: str, *, intervals: bool = False) -> list[tuple[str, str]]:
    """(name, value) of the main figures of a part, of each output.

    Args:
        evaluation: of metrics.json.
        part: its name, the beginning of each name.
        intervals: whether values have their interval, if there is one.
    """
    return [
        (
            name.format(part).strip() + (f" of {head}" if head else ""),
            form.format(figures[key]) + _interval(figures if intervals and key == CALIBRATION else {}),
        )
        for head, figures in heads_of(evaluation).items()
        for key, name, form in HEADINGS
        if figures.get(key) is not None
    ]


def _interval(evaluation: Document) -> str:
    """The interval of a calibration error, after its value; empty without one."""
    interval = evaluation.get("calibration_interval")
    return f" (95 %: {interval[0]:.4f} to {interval[1]:.4f})" if interval else ""


def _calibration(found: Document | None) -> list[tuple[str, str]]:
    """The temperature, and what it changed; nothing for a model without classes, or of before there was one."""
    if not found or found["reason"] == NO_CLASSES:
        return []
    if not found["adopted"]:
        return [("Calibration", f"none: {found['reason']}")]
    before, after = (
        f"{part['log_loss']:.4f} and {part['calibration_error']:.4f}{_interval(part)}"
        for part in (found["before"], found["after"])
    )
    return [
        ("Calibration", f"temperature {found['temperature']:.3f}, fitted on the validation part; {found['place']}"),
        ("Validation log loss and calibration error before calibration", before),
        ("Validation log loss and calibration error after calibration", after),
    ]


def _exported(export: Document) -> list[tuple[str, str]]:
    """Size and exactness of the file of TensorFlow Lite; nothing without one."""
    if "tflite_bytes" not in export:
        return []
    found = export["parity"]["tflite"]
    difference = f"largest difference from Keras {max(found.values()):.3g} in batches of {', '.join(found)}"
    return [(LITE_FILE, f"{export['tflite_bytes']:,} bytes, float32; {difference}")]


def _retrained(retrained: Document) -> str:
    rows = retrained["rows"]
    return (
        f"from version {retrained['version']} with {rows['new']} new rows of {retrained['data']} and {rows['old']} old "
        "ones"
    )


def _finding(finding: Document) -> str:
    value = f"{finding['value']:.6g}" if isinstance(finding["value"], float) else str(finding["value"])
    if finding["holds"] is None:
        return value
    return f"{value} ({'as' if finding['holds'] else 'NOT as'} expected: {finding['wanted']})"


def model_card(name: str, description: str, metrics: Document) -> str:
    """card.md: the head for the Hub, the purpose of the model, its quality, its data, and how to make it again."""
    table = "\n".join(f"| {cell(key)} | {cell(value)} |" for key, value in facts(metrics))
    evaluation = metrics["test"] or metrics["validation"] or {}
    options = " --dataset synthetic" if metrics["dataset"]["form"] == SYNTHETIC else ""
    options += " --force" if metrics["forced"] else ""
    return (
        f"{card_head(name, metrics)}\n# {name}\n\n{description}\n\n"
        f"{_intended(metrics)}"
        f"| | |\n|---|---|\n{table}\n\n"
        f"{''.join(_each(head, figures) for head, figures in heads_of(evaluation).items())}"
        f"## Limits\n\n{''.join(_answers(head, figures) for head, figures in heads_of(evaluation).items())}{LIMITS}"
        f"{_retrain_again(metrics) if 'retrained' in metrics else how_again(name, metrics['overrides'], options)}"
    )


def how_again(name: str, overrides: Sequence[str], options: str = "") -> str:
    """The last section of a card: the command that trains and publishes the version."""
    settings = "".join(f" --set {shlex.quote(override)}" for override in overrides)
    return f"## Make it again\n\n```\npython -m training run {name}{settings}{options} --publish\n```\n"


def _retrain_again(metrics: Document) -> str:
    version = metrics["retrained"]["version"]
    return f"## Make it again\n\nWith version {version} and the same new rows:\n\n```\n{metrics['command']}\n```\n"


def cell(value: object) -> str:
    """A value as one cell of a Markdown table: a bar, a line end or HTML in it is text."""
    return re.sub(r"[\r\n]+", " ", re.sub(r"([\\|<]|&(?=#?\w+;))", r"\\\1", str(value)))


def _intended(metrics: Document) -> str:
    """What the model is for; nothing for a run of before its kind of input was recorded."""
    if "modality" not in metrics:
        return ""
    data = cell(metrics["dataset"]["name"])
    return (
        f"## Intended use\n\nAnswers for {metrics['modality']} of the kind of {data}, one by one or in batches, from "
        "the service, ONNX Runtime or TensorFlow Serving. Preprocessing that is not in the graph is in model.json.\n\n"
        "## Results\n\n"
    )


def _each(head: str, figures: Document) -> str:
    """Precision and recall of each class or label of an output; empty for numbers."""
    kind = "label" if "per_label" in figures else "class"
    each = figures.get("per_label") or figures.get("per_class")
    if not each:
        return ""
    rows = "\n".join(
        f"| {cell(name)} | {found['precision']:.3f} | {found['recall']:.3f} |" for name, found in each.items()
    )
    return f"| {kind}{f' of {cell(head)}' if head else ''} | precision | recall |\n|---|---|---|\n{rows}\n\n"


def _answers(head: str, figures: Document) -> str:
    """What an output can answer; empty for numbers."""
    who = f"Its output {head}" if head else "The model"
    if per_label := figures.get("per_label"):
        return (
            f"{who} knows only these {len(per_label)} labels. Each has a probability of its own; they do not sum to 1. "
            f"A label is given from {figures['threshold']:g} up, so an answer may be several labels, or none. "
        )
    if per_class := figures.get("per_class"):
        return f"{who} knows only these {len(per_class)} classes: whatever the input is, it answers with one of them. "
    return ""
