"""A study of a trained model: where its findings are reported, and the effect of a missed one."""

import json

import pytest

from tests.training.tiny import AskedAtZero, number_recipe
from training.runs.record import Plan
from training.runs.run import run


def test_findings_are_in_metrics_report_and_card(tmp_path, console):
    recipe = number_recipe(study=AskedAtZero())
    plan = Plan(repository=tmp_path / "models")
    outcome = run(recipe, plan, directory=tmp_path, console=console)
    asked, rows = json.loads((tmp_path / "metrics.json").read_text())["findings"]
    assert (asked["name"], asked["wanted"], asked["holds"]) == ("f(0, 0)", "0.5 ± 0.1", True)
    assert asked["value"] == pytest.approx(0.5, abs=0.1)
    assert rows == {"name": "rows", "value": 64, "wanted": "", "holds": None}
    page = (tmp_path / "report.html").read_text()
    assert "(as expected: 0.5 ± 0.1)" in page
    assert "<p>Asked once.</p>" in page
    card = (outcome.version / "card.md").read_text()
    assert "(as expected: 0.5 ± 0.1) |" in card
    assert "| rows | 64 |" in card


def test_a_missed_finding_refuses_publishing_and_names_it(tmp_path, console):
    plan = Plan(repository=tmp_path / "models")
    outcome = run(number_recipe(study=AskedAtZero(wanted=7.0)), plan, directory=tmp_path, console=console)
    assert outcome.version is None
    assert not (tmp_path / "models").exists()
    assert "not published: f(0, 0) is not as expected; --force publishes" in console.file.getvalue()
    assert "(NOT as expected: 7 ± 0.1)" in (tmp_path / "report.html").read_text()


def test_force_publishes_anyway_and_the_card_records_it(tmp_path, console):
    plan = Plan(repository=tmp_path / "models", force=True)
    outcome = run(number_recipe(study=AskedAtZero(wanted=7.0)), plan, directory=tmp_path, console=console)
    card = (outcome.version / "card.md").read_text()
    assert "published though f(0, 0) is not as expected, by --force" in card
    assert "python -m training run tiny-numbers --force --publish" in card


def test_the_command_exits_with_1_prints_the_table_and_continues_by_force(write_recipe, command, tmp_path):
    write_recipe(
        "tiny_numbers.py",
        """
        from tests.training.tiny import AskedAtZero, number_recipe
        RECIPE = number_recipe(study=AskedAtZero(wanted=7.0))
        """,
    )
    missed = command("run", "tiny-numbers", "--publish")
    assert missed.code == 1
    assert "does NOT agree" in missed.out
    assert not (tmp_path / "models").exists()
    unpublished = command("run", "tiny-numbers", "--set", "study.wanted=7", "--run-id", "x")
    assert unpublished.code == 1
    agreeing = command("run", "tiny-numbers", "--set", "study.wanted=0.5", "--test", "--run-id", "y")
    assert agreeing.code == 0
    assert "the test set was not used" in agreeing.out
    forced = command("run", "tiny-numbers", "--resume", "--publish", "--force", "--run-id", "x")
    assert forced.code == 0
    assert "published: models/tiny-numbers/1" in forced.out
