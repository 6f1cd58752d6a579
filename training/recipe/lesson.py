"""Lesson: a system of the course that is worked through rather than trained on a data set; a file in training/recipes.

Importing this module, or any lesson, does not import TensorFlow.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Console

from training.measure.findings import Findings
from training.overrides import FIXED


@dataclass(frozen=True, kw_only=True)
class LessonContext:
    """Where a lesson works.

    Attributes:
        directory: of the run; pictures go there.
        console: for what happens on the way.
    """

    directory: Path
    console: Console


class Study(Protocol):
    """Works a lesson through: a frozen dataclass whose fields are its settings, ``--set study.NAME=VALUE``."""

    def __call__(self, context: LessonContext) -> Findings:
        """Compute, draw, and say what was found."""
        ...


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One lesson.

    Attributes:
        name: also the file's name.
        description: one sentence for ``training list`` and the report.
        study: what is worked through.
        serves: whether it learns something that can be published.
        minutes: what it may cost on 2 CPU cores.
    """

    name: str = field(metadata=FIXED)
    description: str = field(metadata=FIXED)
    study: Study
    serves: bool = field(default=False, metadata=FIXED)
    minutes: float = field(default=10, metadata=FIXED)
