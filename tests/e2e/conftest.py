"""Fixtures of the tests that drive real processes."""

import pytest

from tests.support.service import starting
from tests.support.tiny_models import write_brightness_model


@pytest.fixture
def start():
    """Starts services and checks that they exit with 0."""
    yield from starting()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A models directory with one model of a few weights, for the tests of one file."""
    directory = tmp_path_factory.mktemp("models")
    write_brightness_model(directory)
    return directory


@pytest.fixture
def empty_models(tmp_path):
    """A models directory without models."""
    directory = tmp_path / "models"
    directory.mkdir()
    return directory


@pytest.fixture
def source(tmp_path):
    """A directory outside the models directory: a test writes versions there and copies parts of them."""
    return tmp_path / "source"
