"""Report of a run (curves.png, confusion.png, calibration.png, report.html) and the text of the model card."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.datasets.splits import SYNTHETIC
from training.evaluate import Evaluation
from training.recipe import Recipe

SIZE_INCHES = (6.4, 4.4)
RESOLUTION_DPI = 110


def write_report(
    name: str,
    evaluation: Evaluation,
    history: Sequence[Mapping[str, float]],
    metrics: Mapping[str, Any],
    *,
    directory: Path,
) -> Path:
    """Draw the figures and write the HTML page, which holds them itself.

    Args:
        name: of the model.
        evaluation: on the test set if it was used, else on the validation set.
        history: one row per epoch.
        metrics: metrics.json of the run.
        directory: of the run.

    Returns:
        Path of report.html.
    """
    pictures = {
        "Training": _draw_curves(history, directory / "curves.png"),
        "Confusion matrix": _draw_confusion(evaluation, directory / "confusion.png"),
        "Calibration": _draw_calibration(evaluation, directory / "calibration.png"),
    }
    path = directory / "report.html"
    path.write_text(_page(name, evaluation, metrics, pictures), encoding="utf-8")
    return path


def _figure() -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=SIZE_INCHES, dpi=RESOLUTION_DPI, layout="constrained")


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, format="png", metadata={"Software": None})
    return path


def _draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> Path:
    figure = _figure()
    panes = figure.subplots(1, 2)
    for axes, measure in zip(panes, ("loss", "accuracy"), strict=True):
        for column, label in ((measure, "training"), (f"val_{measure}", "validation")):
            points = [(row["epoch"], row[column]) for row in history if column in row]
            axes.plot([epoch for epoch, _ in points], [value for _, value in points], marker=".", label=label)
        axes.set(xlabel="epoch", title=measure)
        axes.grid(alpha=0.3)
        axes.legend()
    return _save(figure, path)


def _draw_confusion(evaluation: Evaluation, path: Path) -> Path:
    figure = _figure()
    axes = figure.subplots()
    shares = [[count / max(1, sum(row)) for count in row] for row in evaluation.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(evaluation.labels))
    axes.set_xticks(places, evaluation.labels, rotation=45, ha="right")
    axes.set_yticks(places, evaluation.labels)
    axes.set(xlabel="predicted", ylabel="right")
    for row in places:
        for column in places:
            colour = "white" if shares[row][column] > 0.5 else "black"
            count = evaluation.confusion[row][column]
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=7)
    return _save(figure, path)


def _draw_calibration(evaluation: Evaluation, path: Path) -> Path:
    figure = _figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfect")
    axes.plot(
        [confidence for confidence, _, _ in evaluation.bins],
        [accuracy for _, accuracy, _ in evaluation.bins],
        marker="o",
        label=f"measured, error {evaluation.calibration_error:.3f}",
    )
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, path)


def _page(name: str, evaluation: Evaluation, metrics: Mapping[str, Any], pictures: Mapping[str, Path]) -> str:
    rows = "".join(f"<tr><th>{html.escape(key)}<td>{html.escape(value)}" for key, value in _facts(metrics))
    classes = "".join(
        f"<tr><th>{html.escape(label)}<td>{precision:.3f}<td>{recall:.3f}"
        for label, precision, recall in zip(evaluation.labels, evaluation.precision, evaluation.recall, strict=True)
    )
    figures = "".join(f'<h2>{title}</h2><img alt="{title}" src="{_inline(path)}">' for title, path in pictures.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(name)}</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "th{text-align:left;padding-right:1.5rem;font-weight:500}img{max-width:100%}</style>"
        f"<h1>{html.escape(name)}</h1><table>{rows}</table>"
        f"<h2>Classes</h2><table><tr><th>class<th>precision<th>recall{classes}</table>{figures}</html>\n"
    )


def _inline(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _facts(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a reader wants to know first, as (name, value)."""
    test, validation, counts = metrics["test"], metrics["validation"], metrics["dataset"]["counts"]
    hardware = metrics["hardware"]
    return [
        ("Test accuracy", f"{test['accuracy']:.4f} on {test['rows']} rows" if test else "not measured"),
        ("Validation accuracy", f"{validation['accuracy']:.4f} on {validation['rows']} rows"),
        ("Target", f"test accuracy {metrics['target']['test_accuracy']:.3f}"),
        ("Test set", metrics["gate"]),
        ("Calibration error", f"{(test or validation)['calibration_error']:.4f}"),
        ("Log loss", f"{(test or validation)['log_loss']:.4f}"),
        ("Trained on", f"{counts['train']} rows of {metrics['dataset']['name']} ({metrics['dataset']['form']})"),
        ("Parameters", f"{metrics['parameters']:,}"),
        ("Epochs", f"{metrics['epochs']}, weights of epoch {metrics['kept_epoch']}"),
        ("Training time", f"{metrics['seconds']['training']:.0f} s"),
        ("Hardware", f"{hardware['cpu']}, CPU cores: {hardware['cpu_count']}"),
        ("Date", metrics["date"]),
        ("Command", metrics["command"]),
        ("Overrides", ", ".join(metrics["overrides"]) or "none"),
    ]


def model_card(recipe: Recipe, metrics: Mapping[str, Any]) -> str:
    """card.md: what the model is for, how well it does, on what, and how to make it again."""
    evaluation = metrics["test"] or metrics["validation"]
    facts = "\n".join(f"| {name} | {value} |" for name, value in _facts(metrics))
    classes = "\n".join(
        f"| {label} | {figures['precision']:.3f} | {figures['recall']:.3f} |"
        for label, figures in evaluation["per_class"].items()
    )
    options = "".join(f" --set {override}" for override in metrics["overrides"])
    options += " --dataset synthetic" if metrics["dataset"]["form"] == SYNTHETIC else ""
    options += " --force" if metrics["gate"].endswith("--force") else ""
    return (
        f"# {recipe.name}\n\n{recipe.description}\n\n"
        f"| | |\n|---|---|\n{facts}\n\n"
        f"| class | precision | recall |\n|---|---|---|\n{classes}\n\n"
        f"## Limits\n\nThe model knows these {len(evaluation['per_class'])} classes and nothing else: whatever it is "
        "given, it answers one of them. It was trained and measured on the data set above; inputs of another kind "
        "get answers of unknown quality. It is a demonstration, not for decisions about people.\n\n"
        f"## Make it again\n\n```\npython -m training run {recipe.name}{options} --publish\n```\n"
    )
