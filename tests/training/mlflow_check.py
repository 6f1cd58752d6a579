"""Trains a tiny network with ``--mlflow`` and reads its report back; ``make mlflow`` calls it.

The tests do not have the extra ``mlflow``, because it brings eighteen packages. Ends with an error if something is
missing.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

RECIPE = "from tests.training.tiny import image_recipe\nRECIPE = image_recipe(epochs=2, target=0.1)\n"


def main(place: Path) -> None:
    """Run the command line in this process, in ``place``."""
    from mlflow import MlflowClient

    from training import cli

    (place / "tiny_images.py").write_text(RECIPE)
    os.chdir(place)
    os.environ["MLFLOW_TRACKING_URI"] = uri = f"sqlite:///{place / 'mlflow.db'}"
    sys.argv = ["training", "run", "tiny_images.py", "--publish", "--mlflow", "env", "--run-id", "first"]
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("tiny-images")
    [run] = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["fitting.epochs"] == "2"
    assert [each.step for each in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
    assert run.data.metrics["test_accuracy"] >= 0.1
    assert run.data.tags["atelier.version"] == "models/tiny-images/1"
    assert [each.path for each in client.list_artifacts(run.info.run_id)] == ["card.md"]
    print(run.data.params["optimizer.name"], run.data.metrics, run.data.tags)  # noqa: T201


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(Path(directory))
