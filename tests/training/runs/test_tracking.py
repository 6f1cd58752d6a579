"""``--mlflow`` without what it requires is one sentence, before the training; see tests.training.mlflow_check."""

import sys

import pytest

RECIPE = "from tests.training.tiny import *\nRECIPE = image_recipe(epochs=1)\n"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://localhost:5000", "error: --mlflow requires the package mlflow-skinny; install it: pip install"),
        ("env", "error: --mlflow has no address; write --mlflow URI, or set MLFLOW_TRACKING_URI"),
    ],
)
def test_what_is_missing_is_said_before_the_training(address, sentence, write_recipe, command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_recipe("tiny_images.py", RECIPE)
    refused = command("run", "tiny-images", "--mlflow", address)
    assert refused.code == 2
    assert refused.err.startswith(sentence)
    assert not (tmp_path / "runs").exists()
