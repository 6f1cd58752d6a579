"""A published model of messages to a shop, in a folder of its own for each test."""

import shutil

import pytest

from tests.support.training_command import run_training
from tests.training.shop import write_shop


@pytest.fixture(scope="session")
def published_shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder)
    done = run_training("run", "shop", "--publish", "--run-id", "first", "--set", "keep_weights=true", cwd=folder)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def shop(tmp_path, published_shop):
    shutil.copytree(published_shop, tmp_path, dirs_exist_ok=True)
    return tmp_path
