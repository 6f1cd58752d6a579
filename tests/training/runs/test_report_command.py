"""``training report`` as a user calls it."""

import json
import shutil

import pytest

from tests.training.pages import Page

HOSTILE = "<script>alert(1)</script>"
RECIPE = f"""
from tests.training.tiny import *
RECIPE = image_recipe(epochs=2, target=0.1, loss=Loss(label_smoothing=0.3), data=Given(
    train=noisy_images(256, 1), validation=noisy_images(200, 2), test=noisy_images(100, 3),
    labels=("dark", {HOSTILE!r}),
))
"""


@pytest.fixture
def runs(write_recipe, command, tmp_path, finished):
    """Two finished runs, the first of them published as tiny-images/1."""
    write_recipe("tiny_images.py", RECIPE)
    if not finished:
        for arguments in (("--publish", "--run-id", "first"), ("--epochs", "3", "--run-id", "second")):
            ended = command("run", "tiny-images", *arguments)
            assert ended.code == 0, ended.err
        finished.append(shutil.copytree(tmp_path, tmp_path.with_name("finished")))
    else:
        shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "tiny-images"


@pytest.fixture(scope="module")
def finished():
    """The folder with the runs, once they are done."""
    return []


def files(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_a_version_is_reported_from_its_run_and_stays_as_it_is(runs, command, tmp_path):
    before = files(tmp_path / "models")
    (runs / "first" / "report.html").unlink()
    for arguments in (("tiny-images",), ("tiny-images", "1"), ("models/tiny-images/1",), ("tiny-images/1",)):
        ended = command("report", *arguments)
        assert (ended.code, ended.out.strip()) == (0, "report: runs/tiny-images/first/report.html")
    page = Page(runs / "first" / "report.html")
    assert page.links == ["../../../models/tiny-images/1/card.md"]
    assert "script" not in page.tags
    assert HOSTILE in page.text
    assert page.row("classes", HOSTILE)[3].isdecimal()
    assert {name for name, _ in page.images} > {"Training", "Confusion matrix, test part", "ROC curve, test part"}
    assert "Worst mistakes, validation part" in page.headings
    assert page.row("layers", "hidden") == ["Dense", "8", "520"]
    assert files(tmp_path / "models") == before
    assert not [path for path in (tmp_path / "models").rglob("*") if path.name in {"mistakes.json", "report.html"}]
    for kept in (tmp_path / "models").rglob("*.*"):
        assert b"data:image" not in kept.read_bytes()


def test_figures_of_the_page_are_those_of_scikit_learn_on_the_kept_predictions(runs, command):
    import numpy as np
    from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support, roc_auc_score

    assert command("report", "runs/tiny-images/second").code == 0
    page = Page(runs / "second" / "report.html")
    with np.load(runs / "second" / "predictions-validation.npz") as kept:
        answers, truth = kept["answers"], kept["truth"]
    expected = precision_recall_fscore_support(truth, answers.argmax(axis=1))
    assert page.row("classes", "dark") == [f"{figures[0]:.4f}" for figures in expected[:3]] + [str(expected[3][0])]
    assert f"{HOSTILE}: {roc_auc_score(truth, answers[:, 1]):.4f}." in page.text
    accuracy = accuracy_score(truth, answers.argmax(axis=1))
    assert page.row("facts", "Validation accuracy") == [f"{accuracy:.4f} on 200 rows"]
    loss = log_loss(truth, answers.astype(np.float64) / answers.astype(np.float64).sum(axis=1, keepdims=True))
    assert page.row("facts", "Validation log loss") == [f"{loss:.4f}"]


def test_several_runs_are_compared_with_the_settings_that_differ(runs, command, tmp_path):
    ended = command("report", "tiny-images", "runs/tiny-images/second")
    assert (ended.code, ended.out.strip()) == (0, "report: runs/comparison.html")
    page = Page(tmp_path / "runs" / "comparison.html")
    assert page.tables["settings"] == [
        ["", "tiny-images", "runs/tiny-images/second"],
        ["fitting.epochs", "2", "3"],
    ]
    metrics = [json.loads((runs / run / "metrics.json").read_text()) for run in ("first", "second")]
    assert page.row("figures", "validation log loss") == [f"{each['validation']['log_loss']:.4f}" for each in metrics]
    assert page.row("figures", "test accuracy") == [f"{metrics[0]['test']['accuracy']:.4f}", ""]
    assert [name for name, _ in page.images] == ["Curves of all runs"]


def test_a_version_without_its_run_is_reported_in_the_directory_of_runs(runs, command, tmp_path):
    shutil.rmtree(runs)
    ended = command("report", "tiny-images")
    assert (ended.code, ended.out.strip()) == (0, "report: runs/tiny-images/version-1.html")
    page = Page(runs / "version-1.html")
    assert "Training" not in [name for name, _ in page.images]
    assert page.row("layers", "hidden") == ["Dense", "8", "520"]
    ended = command("report", "tiny-images", "tiny-images/1", "--out", "page.html")
    assert (ended.code, ended.out.strip()) == (0, "report: page.html")
    assert "tiny-images/1 has no curves: its run is not in the directory of runs." in Page(tmp_path / "page.html").text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tiny-image",), "'tiny-image' is neither the directory of a run nor a model with a version under models; did "
         "you mean tiny-images?"),
        (("tiny-images", "7"), "tiny-images has no version '7'; there are: 1"),
        (("tiny-images/7",), "tiny-images has no version '7'; there are: 1"),
        (("runs/tiny-images/third",), "runs/tiny-images/third does not exist; runs are in runs/NAME/"),
        (("runs/tiny-images",), "runs/tiny-images is not a run: it has no config.json"),
        (("tiny-images", "tiny-images"), "'tiny-images' is named twice; a comparison requires different runs"),
        (("tiny-images", "--out", "models/tiny-images/1/page.html"), "is inside a published version, which never "
         "changes; choose another --out"),
        (("tiny-images", "--out", "nowhere/page.html"), "nowhere is not a directory; --out names a file in a"),
        (("tiny-images", "--out", "runs"), "runs is a directory; --out names a file, for example runs/report.html"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence_and_exit_code_2(runs, command, arguments, sentence):
    ended = command("report", *arguments)
    assert ended.code == 2
    assert sentence in ended.err
    assert len(ended.err.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["predictions-validation.npz", "mistakes.json", "state.json"])
def test_a_damaged_file_of_a_run_is_named(runs, command, name):
    (runs / "second" / name).write_bytes(b"PK\x03\x04 no more")
    ended = command("report", "runs/tiny-images/second")
    assert ended.code == 2
    assert ended.err.startswith(f"error: runs/tiny-images/second/{name} is damaged: ")


def test_a_file_that_cannot_be_written_gets_a_sentence(runs, command):
    (runs / "second" / ".report.html").mkdir()
    ended = command("report", "runs/tiny-images/second")
    assert ended.code == 2
    assert ended.err.startswith("error: runs/tiny-images/second/.report.html cannot be written or read: Is a directory")


def test_a_run_that_has_not_ended_or_is_damaged_or_is_a_lesson_gets_a_sentence(runs, command):
    metrics = runs / "second" / "metrics.json"
    metrics.write_text("{")
    damaged = command("report", "runs/tiny-images/second")
    assert (damaged.code, "second/metrics.json is damaged: " in damaged.err) == (2, True)
    metrics.write_text("{}")
    lesson = command("report", "runs/tiny-images/second")
    assert lesson.code == 2
    assert "second is not the result of a training: it is a lesson or was imported" in lesson.err
    metrics.unlink()
    unfinished = command("report", "runs/tiny-images/second")
    assert unfinished.code == 2
    assert "has no metrics.json: the run has not ended; continue it with --resume, then report" in unfinished.err
