import numpy as np
import pytest

from tests.training.pages import Page
from training.measure.evaluate import evaluate
from training.measure.findings import between
from training.measure.predictions import Predictions
from training.report.reported import Reported
from training.report.run_report import write_report

HOSTILE = "<script>alert(1)</script>"
NAMES = ("dark", HOSTILE)
HISTORY = [
    {"epoch": 1, "seconds": 0.5, "learning_rate": 0.01, "loss": 0.6, "accuracy": 0.6},
    {"epoch": 2, "seconds": 0.5, "learning_rate": 0.005, "loss": 0.4, "accuracy": 0.8, "val_loss": 0.5},
]


def predictions(rows=200, seed=0):
    generator = np.random.default_rng(seed)
    second = generator.random(rows).astype(np.float32)
    truth = (generator.random(rows) < second).astype(np.int32)
    return Predictions(answers=np.stack([1 - second, second], axis=1), truth=truth)


def reported(kept, **changes):
    evaluation = evaluate(kept.answers, kept.truth, names=NAMES).as_json()
    before = {**evaluation, "calibration_error": 0.2, "calibration_bins": [[0.4, 0.9, 123]]}
    metrics = {
        "model": "tiny",
        "test": None,
        "validation": evaluation,
        "calibration": {
            "adopted": True, "temperature": 0.5, "place": "here", "reason": "", "before": before, "after": evaluation
        },
        "dataset": {"name": "tiny", "form": "drawn", "counts": {"train": 128, "validation": 200, "test": None}},
        "target": {"test_accuracy": 0.6},
        "gate": "validation accuracy reaches the target",
        "forced": False,
        "parameters": 12_345,
        "layers": [{"name": HOSTILE, "kind": "Dense", "output": "2", "parameters": 12_345}],
        "epochs": 2,
        "kept_epoch": 2,
        "seconds": {"data": 1.25, "training": 61.45},
        "hardware": {"cpu": "A CPU", "cpu_count": 2, "threads": 2, "system": "Linux"},
        "packages": {"tensorflow": "2.21.0"},
        "date": "2026-01-01",
        "command": f"python -m training run '{HOSTILE}'",
        "overrides": ["fitting.epochs=2"],
        "findings": [between("f(10)", 18.98, 18.9, 19.1).as_json()],
        "notes": ["A <note>."],
        "warnings": ["the gradient vanishes"],
    }  # fmt: skip
    facts = {"name": "tiny", "title": "first", "metrics": metrics, "history": HISTORY}
    return Reported(**(facts | {"predictions": {"validation": kept}} | changes))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    mistakes = [
        {"row": 7, "right": "dark", "right_probability": 0.1, "predicted": HOSTILE, "predicted_probability": 0.9,
         "text": f"{HOSTILE} is what it says"}
    ]  # fmt: skip
    directory = tmp_path_factory.mktemp("run")
    return Page(write_report(reported(predictions(), mistakes=mistakes), directory / "report.html", keep=directory))


def test_the_page_is_self_contained_and_runs_nothing(page):
    assert {address.partition(",")[0] for _, address in page.images} == {"data:image/png;base64"}
    assert not page.tags & {"script", "link", "iframe", "form"}
    assert page.links == []


def test_hostile_names_and_texts_are_shown_as_they_are(page):
    assert f"{HOSTILE} is what it says" in page.text
    assert page.row("layers", HOSTILE) == ["Dense", "2", "12,345"]
    assert page.row("facts", "Command") == [f"python -m training run '{HOSTILE}'"]
    assert "A <note>." in page.text


def test_figures_of_classes_are_those_of_scikit_learn(page):
    from sklearn.metrics import precision_recall_fscore_support

    kept = predictions()
    found = precision_recall_fscore_support(kept.truth, kept.answers.argmax(axis=1))
    for number, name in enumerate(NAMES):
        assert page.row("classes", name) == [f"{figures[number]:.4f}" for figures in found[:3]] + [
            str(found[3][number])
        ]
    assert page.row("classes", "mean of the classes")[2] == f"{found[2].mean():.4f}"


def test_the_page_has_a_picture_for_each_part(page):
    assert [name for name, _ in page.images] == [
        "Training",
        "Confusion matrix, validation part",
        "ROC curve, validation part",
        "Calibration",
    ]


def test_bins_have_their_rows_before_and_after_the_temperature(page):
    assert ["0.4000", "0.9000", "123"] in page.tables["bins"]
    rows = [int(cells[2]) for cells in page.tables["bins"] if cells[2].isdecimal()]
    assert sum(rows) == 123 + 200
    before = [heading for heading in page.headings if heading.startswith("Bins: ")]
    assert before[0] == "Bins: validation before calibration, error 0.2000"


def test_the_page_states_facts_warnings_findings_and_the_cost(page):
    assert page.row("facts", "Parameters") == ["12,345"]
    assert page.row("facts", "Warning") == ["the gradient vanishes"]
    assert page.row("facts", "f(10)") == ["18.98 (as expected: between 18.9 and 19.1)"]
    assert page.row("cost", "data") == ["1.2 s"]
    assert page.row("cost", "all phases") == ["62.7 s"]
    assert page.row("packages", "tensorflow") == ["2.21.0"]


def test_the_area_under_the_curve_is_that_of_scikit_learn(page):
    from sklearn.metrics import roc_auc_score

    kept = predictions()
    area = roc_auc_score(kept.truth, kept.answers[:, 1])
    assert f"Area under the curve of {HOSTILE}: {area:.4f}." in page.text


def test_a_part_of_one_class_has_no_roc_curve(tmp_path):
    kept = predictions()
    dark = Predictions(answers=kept.answers, truth=np.zeros_like(kept.truth))
    page = Page(write_report(reported(dark), tmp_path / "report.html"))
    assert "ROC curve, validation part" not in [name for name, _ in page.images]
    assert "Area under the curve" not in page.text


def test_names_that_matplotlib_reads_as_formulas_or_hides_are_drawn(tmp_path):
    history = {"$x_": HISTORY, "_hidden": HISTORY, "名前": HISTORY}
    from training.report.page import png
    from training.report.pictures import draw_confusion, draw_curves

    drawn = draw_curves(history)
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == ["\\$x_", " _hidden", "名前"]
    assert png(drawn).startswith(b"\x89PNG")
    assert png(draw_confusion(["$a$", "b$"], [[1, 0], [0, 1]])).startswith(b"\x89PNG")


def test_a_model_of_numbers_has_a_plot_of_residuals(tmp_path):
    kept = Predictions(answers=np.float32([[1.0], [2.0]]), truth=np.float32([[1.5], [1.0]]))
    metrics = {**reported(predictions()).metrics, "calibration": None}
    metrics["validation"] = {"rows": 2, "mae": 0.75, "mse": 0.625, "rmse": 0.79}
    run = Reported(name="plane", title="first", metrics=metrics, predictions={"validation": kept})
    page = Page(write_report(run, tmp_path / "report.html"))
    assert [name for name, _ in page.images] == ["Residuals, validation part"]
    assert "classes" not in page.tables


def test_a_version_whose_run_is_gone_links_to_its_card(tmp_path):
    version = tmp_path / "models" / "tiny" / "3"
    version.mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    run = reported(predictions(), title="version 3", history=(), predictions={}, version=version)
    page = Page(write_report(run, tmp_path / "runs" / "page.html"))
    assert page.links == ["../models/tiny/3/card.md"]
    assert list(version.iterdir()) == []
    assert [name for name, _ in page.images] == ["Confusion matrix, validation part", "Calibration"]
