"""Fixtures shared by all tests."""

import pytest

from tests.support.service import Service
from tests.support.tiny_models import write_brightness_model, write_fragile_model, write_words_model


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """A models directory with three models of a few weights. Do not write into it."""
    models = tmp_path_factory.mktemp("tiny-models")
    write_brightness_model(models)
    write_words_model(models)
    write_fragile_model(models)
    return models


@pytest.fixture(scope="session")
def tiny(tiny_models):
    """A client of a service over the tiny models."""
    service = Service(tiny_models, "--log-level", "debug")
    yield service.client
    assert service.stop() == 0
