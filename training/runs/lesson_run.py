"""One run of a lesson: computed, recorded, and published if it has learned something to serve."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from app.contract.model_spec import ModelSpec
from training import environment
from training.disk import replaced
from training.errors import SettingRefused
from training.measure.card import cell, how_again
from training.measure.findings import Findings, Servable
from training.overrides import settings
from training.recipe.lesson import Lesson, LessonContext
from training.report.run_report import write_lesson_report
from training.runs.directories import CARD_FILE, CONFIG_FILE, METRICS_FILE
from training.runs.record import Phases, Plan, write_json


@dataclass(frozen=True, kw_only=True)
class Worked:
    """The result of a lesson.

    Attributes:
        version: the published directory, if it was requested and every figure is as expected.
    """

    directory: Path
    findings: Findings
    version: Path | None


def run_lesson(lesson: Lesson, plan: Plan, *, directory: Path, console: Console) -> Worked:
    """Compute the lesson and report; publish if requested and no figure was missed.

    Raises:
        SettingRefused: publishing was requested but there is nothing to serve.
    """
    if plan.repository and not lesson.serves:
        raise SettingRefused(f"{lesson.name} is a lesson without a model; run it without --publish")
    phases = Phases()
    directory.mkdir(parents=True, exist_ok=True)
    values = {path: list(value) if isinstance(value, tuple) else value for path, value in settings(lesson)}
    record = {"recipe": lesson.name, "overrides": list(plan.overrides), "command": plan.command, "settings": values}
    write_json(directory / CONFIG_FILE, record)
    with phases.phase("training"):
        findings = lesson.study(LessonContext(directory=directory, console=console))
    metrics = {
        "model": lesson.name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": environment.commit(),
        **record,
        "findings": [figure.as_json() for figure in findings.figures],
        "notes": list(findings.notes),
        "test": None,
        "dataset": {"name": "none", "form": "none", "counts": {}},
        "seconds": phases.seconds,
        "hardware": environment.hardware(),
        "packages": environment.packages(),
    }
    write_json(directory / METRICS_FILE, metrics)
    write_lesson_report(lesson.name, lesson.description, findings, directory=directory)
    version = None
    if plan.repository and findings.missed:
        console.print(f"not published: {findings.complaint}", highlight=False)
    elif plan.repository:
        assert findings.servable is not None  # the lesson declares that it serves
        version = _publish(lesson, findings.servable, metrics, directory, plan.repository)
    return Worked(directory=directory, findings=findings, version=version)


def _publish(lesson: Lesson, servable: Servable, metrics: Mapping[str, Any], directory: Path, repository: Path) -> Path:
    from training.export.model_export import OPSET, framework_versions
    from training.publish.publish import publish_model

    spec = ModelSpec(
        name=lesson.name,
        description=lesson.description,
        inputs=servable.inputs,
        outputs=servable.outputs,
        opset=OPSET,
        trained_on="the lesson itself",
        frameworks=framework_versions(),
    )
    card = _card(lesson, metrics)
    with replaced(directory / CARD_FILE) as path:
        path.write_text(card, encoding="utf-8")
    return publish_model(servable.model, spec, metrics=metrics, baseline={}, card=lambda _: card, repository=repository)


def _card(lesson: Lesson, metrics: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {cell(figure['name'])} | {cell(figure['value'])} | {cell(figure['wanted'])} |"
        for figure in metrics["findings"]
    )
    return (
        f"# {lesson.name}\n\n{lesson.description}\n\n| figure | measured | expected |\n|---|---|---|\n{rows}\n\n"
        f"{how_again(lesson.name, metrics['overrides'])}"
    )
