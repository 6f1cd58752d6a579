import json

import pytest

from training.errors import RunNotFound
from training.runs.directories import new_directory, read_config, read_metrics, unfinished_directory


def make_run(root, identifier, **metrics):
    directory = root / "mlp" / identifier
    directory.mkdir(parents=True)
    (directory / "config.json").write_text('{"recipe": "mlp"}')
    if metrics:
        (directory / "metrics.json").write_text(json.dumps(metrics))
    return directory


def test_a_new_run_is_named_by_the_time_or_as_given(tmp_path):
    assert new_directory(tmp_path, "mlp", "first") == tmp_path / "mlp" / "first"
    assert new_directory(tmp_path, "mlp", None).name[:2] == "20"


def test_a_run_is_never_written_over(tmp_path):
    make_run(tmp_path, "first")
    with pytest.raises(RunNotFound, match="already contains a run; continue it with --resume"):
        new_directory(tmp_path, "mlp", "first")


def test_the_newest_unpublished_run_is_resumed(tmp_path):
    make_run(tmp_path, "20260101-000000")
    wanted = make_run(tmp_path, "20260102-000000", test=None)
    make_run(tmp_path, "20260103-000000", published="mlp/1")
    assert unfinished_directory(tmp_path, "mlp", None) == wanted
    assert unfinished_directory(tmp_path, "mlp", "20260101-000000").name == "20260101-000000"
    with pytest.raises(RunNotFound, match="is left to resume"):
        unfinished_directory(tmp_path, "mlp", "20260103-000000")


def test_a_directory_that_is_not_a_run_is_refused_and_missing_metrics_are_empty(tmp_path):
    with pytest.raises(RunNotFound, match=r"is not a run: it has no config\.json"):
        read_config(tmp_path)
    assert read_metrics(tmp_path) == {}
    assert read_config(make_run(tmp_path, "a"))["recipe"] == "mlp"
