"""A version on disk."""

import pytest

from tests.support.tiny_models import write_brightness_model


@pytest.fixture
def version(tmp_path):
    return write_brightness_model(tmp_path)
