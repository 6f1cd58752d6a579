"""Lesson: a system of the course that is computed step by step, not trained on a data set; in training/recipes.

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
    """Directory and console of a lesson.

    Attributes:
        directory: of the run; receives the pictures.
        console: for progress.
    """

    directory: Path
    console: Console


class Study(Protocol):
    """Computes a lesson: a frozen dataclass whose fields are its settings, ``--set study.NAME=VALUE``."""

    def __call__(self, context: LessonContext) -> Findings:
        """Compute, draw, and return the findings."""
        ...


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One lesson.

    Attributes:
        name: also the file's name.
        description: one sentence for ``training list`` and the report.
        study: computes the lesson.
        serves: whether it learns something that can be published.
        minutes: most minutes on 2 CPU cores.
    """

    name: str = field(metadata=FIXED)
    description: str = field(metadata=FIXED)
    study: Study
    serves: bool = field(default=False, metadata=FIXED)
    minutes: float = field(default=10, metadata=FIXED)
