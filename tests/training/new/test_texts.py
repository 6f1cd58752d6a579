"""``training new --texts``: what it says about a file of texts, and the recipe that it writes."""

import json

import pytest

from app.contract.golden import Golden
from tests.support.own_data import write_tickets
from training.runs.catalogue import load_recipe


@pytest.fixture
def tickets(tmp_path):
    write_tickets(tmp_path / "tickets.csv", count=150)
    return tmp_path / "tickets.csv"


def test_it_says_what_it_found_and_finds_the_columns_itself(tickets, command):
    ended = command("new", "tickets", "--texts", "tickets.csv")
    for sentence in (
        "150 in column 'message', delivery 50, payment 50, returns 50 in column 'topic'",
        "15 in half of the texts, at most ",
        "0 texts are the copy of another one",
        "next: python -m training run tickets --publish",
    ):
        assert sentence in ended.out, ended.err
    data = load_recipe("tickets").data
    assert (data.text, data.target) == ("message", "topic")


@pytest.mark.parametrize("name", ["bag", "lstm"])
def test_the_recipe_runs_with_other_networks_and_publishes_no_text(name, tickets, command, tmp_path):
    command("new", "tickets", "--texts", "tickets.csv")
    ended = command("run", "tickets", "--epochs", "2", "--set", f"network.name={name}", "--publish")
    assert ended.code == 0, ended.err
    version = tmp_path / "models/tickets/1"
    golden = Golden.read(version)
    texts = tickets.read_text()
    assert not any(sample.data.decode() in texts for sample in golden.raw if len(sample.data) > 20)
    export = json.loads((version / "metrics.json").read_text())["export"]
    assert export["classes"] == 3
    assert export["golden_classes"] >= 1


def test_a_recipe_that_says_so_publishes_held_out_texts(tickets, command, tmp_path):
    command("new", "tickets", "--texts", "tickets.csv")
    recipe = tmp_path / "recipes/tickets.py"
    recipe.write_text(recipe.read_text().replace("RECIPE = Recipe(", "RECIPE = Recipe(\n    publish_examples=True,"))
    ended = command("run", "tickets", "--epochs", "8", "--publish")
    assert ended.code == 0, ended.err
    held_out = load_recipe("tickets").data.load().read_test().instances
    shown = [sample.data.decode() for sample in Golden.read(tmp_path / "models/tickets/1").raw]
    assert {text for text in shown if text != "—"} <= set(held_out)


def test_gaps_and_contradictions_are_named(tickets, command):
    text = tickets.read_text()
    line = text.splitlines()[1].rpartition(",")[0]
    tickets.write_text(f"{text}{line},payment\n,returns\n")
    ended = command("new", "tickets", "--texts", "tickets.csv")
    assert "- 1 texts have several labels, such as " in ended.out
    assert "- rows without a text or a label are left out (skip_without_target)" in ended.out
    assert load_recipe("tickets").data.skip_without_target


def test_labels_and_columns_with_quotes_and_backslashes_give_a_recipe_that_loads(tmp_path, command):
    rows = "".join(f'"text {n}","say ""{n % 2}"" \\N"\n' for n in range(20))
    (tmp_path / "t.csv").write_text('"my ""text""","the\\label"\n' + rows)
    ended = command("new", "quotes", "--texts", "t.csv", "--target", "the\\label", "--text-column", 'my "text"')
    assert ended.code == 0, ended.err
    assert load_recipe("quotes").data.load().labels == ('say "0" \\N', 'say "1" \\N')


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--texts", "t.csv"), "which column is the label? Name it with --target; there are: a, b"),
        (("--texts", "t.csv", "--target", "c"), "has no column 'c'; "),
        (("--texts", "t.csv", "--target", "a", "--text-column", "txt"), "has no column 'txt'; did you mean 'text'?"),
        (("--table", "t.csv", "--text-column", "text"), "--text-column is for --texts"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_is_written(arguments, sentence, tmp_path, command):
    (tmp_path / "t.csv").write_text("text,a,b\n" + "a long text,1,2\n" * 9)
    ended = command("new", "t", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.err
    assert not (tmp_path / "recipes").exists()
