"""``training new --table``: what it says about a table, and the recipe that it writes."""

import json

import httpx
import numpy as np
import pytest

from app.contract.golden import Golden
from tests.support.own_data import write_flats, write_members
from tests.support.service import Service
from training.measure.tasks import Classify, Regress
from training.runs.catalogue import load_recipe

SMALL = ("--epochs", "3")


def test_a_table_with_classes_is_described_and_its_recipe_runs_and_serves(tmp_path, command):
    write_members(tmp_path / "members.csv", count=400)
    ended = command("new", "members", "--table", "members.csv", "--target", "stays")
    for sentence in (
        "stays: one of 2 classes: no ",
        "age: 16 to 79, ",
        "plan: 3 categories: basic, plus, family",
        "next: python -m training run members --publish",
    ):
        assert sentence in ended.out, ended.err
    recipe = load_recipe("members")
    assert isinstance(recipe.task, Classify)
    assert (recipe.data.numbers, recipe.data.categories) == (("age", "visits"), ("plan",))
    ended = command("run", "members", *SMALL, "--publish")
    assert ended.code == 0, ended.err
    service = Service(tmp_path / "models")
    rows = [{"age": 30, "visits": 14, "plan": "plus"}, {"age": 31, "visits": 0, "plan": "basic"}]
    v1 = service.client.post("/v1/models/members:predict", json={"instances": rows}).json()["predictions"]
    tensors = [
        {"name": "age", "datatype": "FP32", "shape": [2], "data": [30, 31]},
        {"name": "visits", "datatype": "FP32", "shape": [2], "data": [14, 0]},
        {"name": "plan", "datatype": "BYTES", "shape": [2], "data": ["plus", "basic"]},
    ]
    v2 = service.client.post("/v2/models/members/infer", json={"inputs": tensors}).json()["outputs"][0]["data"]
    np.testing.assert_allclose(np.ravel(v1), v2)
    classified = service.client.post("/v1/models/members:classify", json={"examples": rows}).json()["results"]
    assert {label for label, _ in classified[0]} == {"yes", "no"}
    wrong = service.client.post("/v1/models/members:predict", json={"instances": [{"age": 1, "plan": "x"}]})
    assert wrong.status_code == 400
    assert "visits" in wrong.json()["error"]
    missing = '{"instances": [{"age": NaN, "visits": 3, "plan": "unheard of"}]}'
    assert httpx.post(f"{service.url}/v1/models/members:predict", content=missing).status_code == 200
    assert service.stop() == 0


def test_a_table_with_numbers_is_described_and_its_recipe_runs(tmp_path, command):
    write_flats(tmp_path / "flats.csv", count=400)
    ended = command("new", "rent", "--table", "flats.csv")
    assert "rent: a number from " in ended.out
    assert "- not used: id: a different whole number in each row, in order: an identifier" in ended.out
    recipe = load_recipe("rent")
    assert isinstance(recipe.task, Regress)
    assert recipe.data.numbers == ("rooms", "size m2", "year")
    ended = command("run", "rent", "--epochs", "15", "--publish")
    assert ended.code == 0, ended.err
    metrics = json.loads((tmp_path / "models/rent/1/metrics.json").read_text())
    rents = recipe.data.load().read_test().labels
    assert metrics["test"]["rmse"] < 0.6 * rents.std()  # in francs, not in deviations


def published(golden):
    """The golden rows as the table writes them."""
    columns = (golden.inputs[name] for name in ("age", "visits", "plan"))
    return {(f"{age:g}", f"{visits:g}", plan.decode()) for age, visits, plan in zip(*columns, strict=True)}


def test_no_row_of_the_table_is_in_the_published_version_unless_the_recipe_says_so(tmp_path, command):
    write_members(tmp_path / "members.csv", count=300)
    command("new", "members", "--table", "members.csv", "--target", "stays")
    assert command("run", "members", "--epochs", "1", "--publish").code == 0
    golden = Golden.read(tmp_path / "models/members/1")
    rows = {tuple(line.split(",")[:3]) for line in (tmp_path / "members.csv").read_text().splitlines()[1:]}
    assert not published(golden) & rows
    assert np.isnan(golden.inputs["age"]).any()
    assert any(b"did not have" in plan for plan in golden.inputs["plan"])
    recipe = tmp_path / "recipes/members.py"
    recipe.write_text(recipe.read_text().replace("RECIPE = Recipe(", "RECIPE = Recipe(\n    publish_examples=True,"))
    assert command("run", "members", "--epochs", "1", "--publish").code == 0
    held_out = load_recipe("members").data.load().read_test()
    assert len(published(Golden.read(tmp_path / "models/members/2")) & rows) >= len(held_out) // 2


def test_columns_of_no_use_are_named(tmp_path, command):
    header, rows = "code,only,when,age,stays\n", []
    for number in range(60):
        rows.append(f"code-{number},x,2026-01-{1 + number % 28:02d},{number % 7},{'yes' if number % 2 else 'no'}\n")
    (tmp_path / "t.csv").write_text(header + "".join(rows))
    ended = command("new", "stays", "--table", "t.csv")
    assert "- not used: code: 60 different texts in 60 rows" in ended.out
    assert "- not used: only: 1 value" in ended.out
    assert "age: 0 to 6" in ended.out


def test_rows_without_a_target_are_left_out_by_the_recipe(tmp_path, command):
    (tmp_path / "t.csv").write_text(
        "a,b\n" + "".join(f"{n},{'' if n == 5 else 'xy'[n % 2]}\n" for n in range(0, 90, 5))
    )
    ended = command("new", "letters", "--table", "t.csv")
    assert "- rows without b are left out (skip_without_target)" in ended.out
    assert load_recipe("letters").data.skip_without_target


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--table", "t.csv", "--target", "c"), "has no column 'c'; there are: a, b"),
        (("--table", "t.csv"), "no column besides the target 'b' is of use: a has 1 value"),
        (("--table", "no.csv"), "no.csv is not a file; give a CSV or Parquet file with a header"),
        (("--table", "t.csv", "--images", "x"), "name the data with one option: --images DIR"),
        (("--images", "x", "--target", "b"), "--target is for --texts and --table"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(arguments, sentence, tmp_path, command):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n1,3\n")
    ended = command("new", "t", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.err
    assert not (tmp_path / "recipes").exists()
