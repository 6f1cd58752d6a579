import json

import numpy as np
import pytest

from app.contract.golden import Golden
from app.contract.manifest import verify_manifest
from tests.training.loading import load
from tests.training.pages import Page
from tests.training.tiny import tiny_lesson
from training.errors import SettingRefused
from training.runs.lesson_run import run_lesson
from training.runs.record import Plan


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def lesson_file(write_recipe):
    """A recipe file with a lesson; the text is the call that makes it."""

    def write(call="tiny_lesson()"):
        write_recipe("tiny_lesson.py", f"from tests.training.tiny import tiny_lesson\nRECIPE = {call}\n")

    return write


def test_a_lesson_writes_its_settings_figures_pictures_and_report(tmp_path, console):
    plan = Plan(overrides=("study.factor=2",), command="python -m training run tiny-lesson")
    worked = run_lesson(tiny_lesson(), plan, directory=tmp_path / "run", console=console)
    assert worked.version is None
    config, metrics = read(tmp_path / "run" / "config.json"), read(tmp_path / "run" / "metrics.json")
    assert config["settings"] == {"study.factor": 2.0}
    assert (config["overrides"], config["command"]) == (["study.factor=2"], "python -m training run tiny-lesson")
    assert metrics["findings"] == [
        {"name": "f(3) | exact", "value": 6.0, "wanted": "6.0", "holds": True},
        {"name": "factor", "value": 2.0, "wanted": "", "holds": None},
    ]
    assert metrics["notes"] == ["Twice [is] <twice>."]
    assert metrics["seconds"]["training"] >= 0
    assert metrics["packages"]["tensorflow"]
    page = Page(tmp_path / "run" / "report.html")
    assert page.row("findings", "f(3) | exact") == ["6", "6.0", "yes"]
    assert "Twice [is] <twice>." in page.text
    assert [(name, address.partition(",")[0]) for name, address in page.images] == [
        ("Doubles", "data:image/png;base64")
    ]


def test_a_lesson_that_has_learned_something_is_published_and_the_service_loads_it(tmp_path, console):
    plan = Plan(overrides=("study.factor=2",), repository=tmp_path / "models")
    version = run_lesson(tiny_lesson(), plan, directory=tmp_path / "run", console=console).version
    assert version == tmp_path / "models" / "tiny-lesson" / "1"
    verify_manifest(version)
    golden = Golden.read(version)
    np.testing.assert_allclose(golden.outputs["y"], 2 * golden.inputs["x"], rtol=1e-6)  # float32
    card = (version / "card.md").read_text()
    assert "| f(3) \\| exact | 6.0 | 6.0 |" in card
    assert "python -m training run tiny-lesson --set study.factor=2 --publish" in card
    loaded = load(tmp_path / "models", "tiny-lesson")
    assert (loaded.spec.name, loaded.classes) == ("tiny-lesson", ())


def test_a_lesson_without_a_model_cannot_be_published(tmp_path, console):
    with pytest.raises(SettingRefused, match="tiny-lesson is a lesson without a model; run it without --publish"):
        run_lesson(tiny_lesson(serves=False), Plan(repository=tmp_path / "models"), directory=tmp_path, console=console)
    assert list(tmp_path.iterdir()) == []


def test_a_lesson_with_a_missed_figure_is_not_published(tmp_path, console):
    plan = Plan(repository=tmp_path / "models")
    worked = run_lesson(tiny_lesson(factor=3.0), plan, directory=tmp_path / "run", console=console)
    assert worked.version is None
    assert not (tmp_path / "models").exists()
    assert "not published: f(3) | exact is not as expected" in console.file.getvalue()
    assert Page(tmp_path / "run" / "report.html").row("findings", "f(3) | exact") == ["9", "6.0", "NO"]


def test_the_command_runs_a_lesson_and_prints_its_findings(lesson_file, command, tmp_path):
    lesson_file()
    ended = command("run", "tiny-lesson", "--run-id", "x")
    assert (ended.code, ended.err) == (0, "")
    assert "tiny-lesson writes to runs/tiny-lesson/x" in ended.out
    assert "agrees" in ended.out
    assert "Twice [is] <twice>." in ended.out
    assert "report: runs/tiny-lesson/x/report.html" in ended.out
    assert (tmp_path / "runs/tiny-lesson/x/double.png").read_bytes().startswith(b"\x89PNG")


def test_a_missed_figure_of_a_lesson_gives_exit_code_1(lesson_file, command):
    lesson_file()
    ended = command("run", "tiny-lesson", "--set", "study.factor=3")
    assert ended.code == 1
    assert "does NOT agree" in ended.out


def test_publishing_a_lesson_by_command_prints_its_path_or_the_reason(lesson_file, command):
    lesson_file()
    ended = command("run", "tiny-lesson", "--publish")
    assert ended.code == 0
    assert "published: models/tiny-lesson/1" in ended.out
    listed = command("list")
    assert "version 1" in listed.out


def test_publishing_a_lesson_without_a_model_is_refused_before_it_runs(lesson_file, command, tmp_path):
    lesson_file("tiny_lesson(serves=False)")
    refused = command("run", "tiny-lesson", "--publish")
    assert refused.code == 2
    assert refused.err == "error: tiny-lesson is a lesson without a model; run it without --publish\n"
    assert not list(tmp_path.glob("runs/*/*"))


@pytest.mark.parametrize(
    "options", [("--epochs", "3"), ("--test",), ("--resume",), ("--force",), ("--dataset", "synthetic")], ids=" ".join
)
def test_options_that_a_lesson_has_no_use_for_are_refused(options, lesson_file, command, tmp_path):
    lesson_file()
    ended = command("run", "tiny-lesson", *options)
    assert ended.code == 2
    assert ended.err == (
        "error: tiny-lesson is a lesson; it takes only --set, --publish, --run-id, --models-dir and --runs\n"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [("compare", "tiny-lesson"), ("evaluate", "run")], ids=" ".join)
def test_commands_that_train_have_no_use_for_a_lesson(arguments, lesson_file, command, tmp_path):
    lesson_file()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"recipe": "tiny-lesson", "overrides": []}')
    ended = command(*arguments)
    assert (ended.code, ended.err) == (
        2,
        "error: tiny-lesson is a lesson, which can only be run; use `python -m training run tiny-lesson`\n",
    )


def test_ctrl_c_in_a_lesson_gives_the_exit_code_of_an_interrupted_command(write_recipe, command):
    write_recipe(
        "endless.py",
        """
        from training.recipe.lesson import Lesson
        def study(bench):
            raise KeyboardInterrupt
        RECIPE = Lesson(name="endless", description="Never ends.", study=study)
        """,
    )
    ended = command("run", "endless")
    assert ended.code == 130
    assert "Traceback" not in ended.err
