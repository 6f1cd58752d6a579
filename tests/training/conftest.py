"""TensorFlow without its start-up noise, and a console that remembers what was printed."""

import io

import pytest
from rich.console import Console

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
