"""The records of a run: the plan, the seconds of each phase, config.json and metrics.json."""

import datetime
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training import environment
from training.datasets.splits import Splits
from training.disk import replaced
from training.fit.calibrate import Calibrated
from training.fit.train_network import Trained
from training.measure.findings import Findings
from training.measure.tasks import Measured
from training.network.layer_table import layer_table
from training.overrides import settings
from training.recipe.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The options of a run besides training.

    Attributes:
        overrides: ``path=value`` as given; already applied to the recipe.
        dataset: ``real`` or ``synthetic``.
        test: whether to measure on the test set at the end.
        force: test even if validation is below the target; recorded.
        repository: where to publish the next version; None does not publish. Publishing tests first.
        tensorboard: whether the logs of TensorBoard also have histograms of the weights and the graph.
        command: the command line, for the record.
        recipe_file: path of a recipe that is not part of this package.
    """

    overrides: tuple[str, ...] = ()
    dataset: str = "real"
    test: bool = False
    force: bool = False
    repository: Path | None = None
    tensorboard: bool = False
    command: str = ""
    recipe_file: str | None = None


@dataclass
class Phases:
    """Seconds of each phase of a run, by a monotonic clock."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the body."""
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 2)


def config_document(recipe: Recipe, plan: Plan) -> dict[str, Any]:
    """config.json: everything that is needed to continue the run."""
    return {
        "recipe": recipe.name,
        **({"recipe_file": plan.recipe_file} if plan.recipe_file else {}),
        "dataset": plan.dataset,
        "overrides": list(plan.overrides),
        "command": plan.command,
        "settings": all_settings(recipe),
    }


def all_settings(recipe: Recipe) -> dict[str, Any]:
    """Dotted path -> value of every setting."""
    return {path: list(value) if isinstance(value, tuple) else value for path, value in settings(recipe)}


def metrics_document(
    recipe: Recipe,
    plan: Plan,
    splits: Splits,
    trained: Trained,
    calibrated: Calibrated,
    validation: Measured | None,
    test: Measured | None,
    findings: Findings,
    gate: str,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """metrics.json: the results, the data, the cost, the machine, and how to repeat the run."""
    counts = {
        "train": len(splits.train),
        "validation": validation.rows if validation else 0,
        "test": test.rows if test else None,
    }
    return {
        "model": recipe.name,
        "license": recipe.license,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": plan.command,
        "commit": environment.commit(),
        "dataset": {"name": splits.name, "form": splits.form, "files_sha256": splits.files, "counts": counts},
        "overrides": list(plan.overrides),
        "target": {
            "test_accuracy": recipe.targets.test_accuracy,
            "parameters": recipe.targets.parameters,
            "minutes": recipe.targets.minutes,
        },
        "gate": gate,
        "forced": plan.force,
        "validation": validation.as_json() if validation else None,
        "test": test.as_json() if test else None,
        "calibration": calibrated.as_json(),
        "findings": [figure.as_json() for figure in findings.figures],
        "notes": list(findings.notes),
        "warnings": list(trained.warnings),
        "parameters": int(calibrated.model.count_params()),
        "layers": layer_table(calibrated.model),
        "epochs": trained.progressed.epoch,
        "kept_epoch": trained.kept_epoch,
        "seconds": dict(seconds),
        "hardware": environment.hardware(),
        "packages": environment.packages(),
        "settings": all_settings(recipe),
    }


def write_json(path: Path, document: Mapping[str, Any] | list[Any]) -> None:
    """Replace a JSON file in one step."""
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
