"""compare, all and reproduce: commands that train several times."""

import json

import pytest
from PIL import Image

from tests.training.tiny import image_recipe, number_recipe
from training.overrides import apply_overrides
from training.runs.compare import compare

IMAGES = "from tests.training.tiny import image_recipe\nRECIPE = image_recipe(epochs=2, target=0.5)\n"
NUMBERS = "from tests.training.tiny import *\nRECIPE = number_recipe(study=AskedAtZero())\n"
LESSON = "from tests.training.tiny import tiny_lesson\nRECIPE = tiny_lesson()\n"


def last_table(out):
    """First cell of each row -> the other cells, of the last table that was printed."""
    lines = [line for line in out.rpartition("┡")[2].splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    return {first: others for first, *others in cells}


def contestants(recipe, **settings):
    return {name: apply_overrides(recipe, overrides) for name, overrides in settings.items()}


def test_each_optimizer_gives_one_curve_from_the_same_start_and_all_are_drawn(tmp_path, console):
    recipes = contestants(
        image_recipe(epochs=2), sgd=["optimizer.name=sgd"], adam=["optimizer.name=adam"], again=["optimizer.name=sgd"]
    )
    curves = list(compare(recipes, "real", directory=tmp_path, console=console))
    assert [curve.name for curve in curves] == ["sgd", "adam", "again"]
    assert all([row["epoch"] for row in curve.history] == [1, 2] for curve in curves)
    assert all(curve.diverged == "" and curve.seconds > 0 for curve in curves)
    losses = [[row["loss"] for row in curve.history] for curve in curves]
    assert losses[0] == losses[2] != losses[1]
    with Image.open(tmp_path / "compare.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 900  # two panes: training and validation


def test_without_a_validation_part_there_is_one_pane(tmp_path, console):
    list(compare({"sgd": number_recipe()}, "real", directory=tmp_path, console=console))
    with Image.open(tmp_path / "compare.png") as picture:
        assert picture.width < 900


def test_one_that_diverges_is_reported_and_does_not_stop_the_others(tmp_path, console):
    recipes = contestants(
        image_recipe(epochs=1),
        wild=["optimizer.name=sgd", "optimizer.learning_rate=1e30"],
        tame=["optimizer.name=sgd", "optimizer.learning_rate=0.01"],
    )
    wild, tame = compare(recipes, "real", directory=tmp_path, console=console)
    assert (wild.diverged, wild.history) == ("diverged", [])
    assert (tame.diverged, len(tame.history)) == ("", 1)
    assert "wild: the loss became nan at step" in console.file.getvalue()
    assert (tmp_path / "compare.png").exists()


def test_when_all_diverge_there_is_still_a_picture(tmp_path, console):
    recipes = contestants(image_recipe(epochs=1), wild=["optimizer.name=sgd", "optimizer.learning_rate=1e30"])
    [wild] = compare(recipes, "real", directory=tmp_path, console=console)
    assert wild.diverged
    assert (tmp_path / "compare.png").exists()


def test_the_command_compares_by_name_and_rate_and_prints_a_table(write_recipe, command, tmp_path):
    write_recipe("tiny_images.py", IMAGES)
    options = ("--epochs", "1", "--run-id", "x")
    ended = command("compare", "tiny-images", "--optimizers", "sgd:0.05, adam,sgd:1e30", *options)
    assert (ended.code, ended.err) == (0, "")
    rows = last_table(ended.out)
    assert rows.keys() == {"sgd:0.05", "adam", "sgd:1e30"}
    assert rows["sgd:0.05"][0] == "0.05"
    assert rows["adam"][0] == "0.02"  # the recipe's own
    assert rows["sgd:1e30"][-1] == "diverged"
    assert "picture: runs/tiny-images/x/compare.png" in ended.out
    assert (tmp_path / "runs/tiny-images/x/sgd-0.05/state.json").exists()
    assert not (tmp_path / "models").exists()
    again = command("compare", "tiny-images", "--optimizers", "sgd", *options)
    assert again.code == 2
    assert "runs/tiny-images/x already contains a comparison; choose another --run-id" in again.err


@pytest.mark.parametrize(
    ("optimizers", "sentence"),
    [
        ("sgd,lion", "optimizer.name=lion: expected one of sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw"),
        ("sgd:fast", "optimizer.learning_rate=fast: expected a finite number"),
        ("sgd,adam,sgd", "--optimizers names 'sgd' twice"),
    ],
)
def test_an_unknown_optimizer_is_refused_before_anything_is_trained(
    optimizers, sentence, write_recipe, command, tmp_path
):
    write_recipe("tiny_images.py", IMAGES)
    ended = command("compare", "tiny-images", "--optimizers", optimizers)
    assert ended.code == 2
    assert sentence in ended.err
    assert not (tmp_path / "runs").exists()


def test_all_runs_unpublished_recipes_and_exits_with_0_without_failures(write_recipe, command, tmp_path):
    write_recipe("tiny_images.py", IMAGES)
    write_recipe("tiny_numbers.py", NUMBERS)
    write_recipe("tiny_lesson.py", LESSON)
    (tmp_path / "models" / "tiny-numbers" / "1").mkdir(parents=True)
    ended = command("all")
    assert ended.code == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["tiny-images", "tiny-lesson"]
    rows = last_table(ended.out)
    assert rows["tiny-images"][0].startswith("test accuracy ")
    assert (rows["tiny-lesson"][0], rows["tiny-lesson"][-1]) == ("computed", "1 of 1")
    assert not (tmp_path / "models" / "tiny-images").exists()


def test_one_recipe_that_fails_does_not_stop_the_others_and_gives_exit_code_1(write_recipe, command, tmp_path):
    write_recipe("a_broken.py", "RECIPE = (\n")
    wild = "image_recipe(name='b-wild', optimizer=Optimizer(name='sgd', learning_rate=1e30))"
    write_recipe("b_wild.py", f"from tests.training.tiny import *\nRECIPE = {wild}\n")
    faulty = "image_recipe(name='c-faulty', build=lambda network, signature: 1 / 0)"
    write_recipe("c_faulty.py", f"from tests.training.tiny import *\nRECIPE = {faulty}\n")
    missed = "number_recipe(name='d-missed', study=AskedAtZero(wanted=7.0))"
    write_recipe("d_missed.py", f"from tests.training.tiny import *\nRECIPE = {missed}\n")
    write_recipe("tiny_numbers.py", NUMBERS)
    ended = command("all")
    assert ended.code == 1
    rows = last_table(ended.out)
    assert "failed: training/recipes/a_broken.py: line 1: SyntaxError" in rows["a-broken"][0]
    assert "failed: the loss became nan" in rows["b-wild"][0]
    assert "failed: ZeroDivisionError: division by zero" in rows["c-faulty"][0]
    assert rows["d-missed"][-1] == "0 of 1"
    assert rows["tiny-numbers"][-1] == "1 of 1"
    assert "Traceback" in ended.out  # of the fault


def published(tmp_path, name, **changes):
    """Changes metrics.json of the published version."""
    path = tmp_path / "models" / name / "1" / "metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps(metrics | changes))


def test_reproduce_compares_everything_a_recipe_measures(write_recipe, command, tmp_path):
    parts = "plane_points(64, 1), validation=plane_points(20, 2), test=plane_points(10, 3)"
    measured = f"number_recipe(name='measured', data=Given(train={parts}))"
    write_recipe("measured.py", f"from tests.training.tiny import *\nRECIPE = {measured}\n")
    write_recipe("tiny_numbers.py", NUMBERS)
    write_recipe("tiny_lesson.py", LESSON)
    for name in ("measured", "tiny-numbers", "tiny-lesson"):
        assert command("run", name, "--publish").code == 0
    ended = command("reproduce")
    assert ended.code == 0, ended.out + ended.err
    rows = last_table(ended.out)
    assert rows.keys() == {"measured", "tiny-numbers"}
    assert rows["measured"][:2] == ["1", "rmse"]
    assert rows["measured"][4] == "+0.0000"  # same seed, same machine
    assert rows["tiny-numbers"][:4] == ["1", "as expected", "1", "1"]

    test = json.loads((tmp_path / "models/measured/1/metrics.json").read_text())["test"]
    published(tmp_path, "measured", test=test | {"rmse": test["rmse"] * 1.1})
    assert command("reproduce", "measured").code == 1
    published(tmp_path, "tiny-numbers", overrides=["study.wanted=7"])
    assert command("reproduce", "tiny-numbers").code == 1
    lesson = command("reproduce", "tiny-lesson")
    assert (lesson.code, lesson.err) == (
        2,
        "error: tiny-lesson is a lesson, which can only be run; use `python -m training run tiny-lesson`\n",
    )
