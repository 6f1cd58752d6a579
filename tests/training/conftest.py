"""TensorFlow without its start-up noise, a console that remembers what was printed, recipes and commands of a test."""

import importlib
import io
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from rich.console import Console

from tests.support.training_command import run_training
from training.environment import quiet_tensorflow


@pytest.fixture(scope="session", autouse=True)
def _quiet_tensorflow():
    quiet_tensorflow()


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def data_directory(tmp_path, monkeypatch):
    directory = tmp_path / "data"
    directory.mkdir()
    monkeypatch.setenv("ATELIER_DATA_DIR", str(directory))
    return directory


@pytest.fixture
def write_recipe(tmp_path, monkeypatch):
    """Writes recipes, which are then the only ones there are."""
    import training.lessons
    import training.recipes

    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setattr(training.recipes, "__path__", [str(folder)])
    monkeypatch.setattr(training.lessons, "__path__", [])
    before = set(sys.modules)

    def write(file, text):
        (folder / file).write_text(dedent(text))
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("training.recipes."):
            del sys.modules[name]


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs ``python -m training ...`` in this process; the working directory is ``tmp_path`` at first."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run_training(*arguments, cwd=Path.cwd())
