import json

import numpy as np
import pytest

from training.errors import SettingRefused
from training.overrides import apply_overrides
from training.recipes.gym_schedule_rnn import EXERCISES, LUCK, MISSED, RECIPE, GymSchedule
from training.runs.record import Plan
from training.runs.run import run

SMALL = ["data.rows=2400", "fitting.epochs=12", "study.rows=300"]


def schedule_says(diary: str) -> str:
    """Today's exercise: one step further each day, also after a missed day."""
    days = diary.split()
    last = max(place for place, day in enumerate(days) if day != MISSED)
    return EXERCISES[(EXERCISES.index(days[last]) + len(days) - last) % len(EXERCISES)]


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_labels_follow_the_schedule_also_after_missed_days(part):
    splits = GymSchedule(rows=2000).load()
    examples = splits.read_test() if part == "test" else getattr(splits, part)
    assert splits.labels == EXERCISES
    assert len(examples) == (2000 if part == "train" else 500)
    assert [splits.labels[label] for label in examples.labels] == [schedule_says(text) for text in examples.instances]
    assert np.bincount(examples.labels).min() > len(examples) / 4


def test_a_diary_has_days_of_the_schedule_and_missed_ones_and_ends_in_a_gap_of_any_length():
    settings = GymSchedule(rows=3000, longest=20, longest_gap=4, missed_share=0.25)
    gaps, between = [], []
    for diary in settings.load().train.instances:
        days = diary.split()
        assert 1 <= len(days) <= 20
        places = [(place, EXERCISES.index(day)) for place, day in enumerate(days) if day != MISSED]
        assert len({(exercise - place) % 3 for place, exercise in places}) == 1  # all follow the schedule
        gaps.append(len(days) - 1 - places[-1][0])
        between += [day == MISSED for day in days[: places[-1][0]]]
    assert set(gaps) == set(range(5))
    assert np.bincount(gaps).min() > 500
    assert np.mean(between) == pytest.approx(0.25, abs=0.02)  # of about 25,000 days: seven standard errors


def test_a_gap_can_be_predicted():
    for gap in (0, 3):
        diaries = GymSchedule().diaries(50, 9, gap=gap)
        assert {
            len(text.split()) - len(text.removesuffix(f" {MISSED}" * gap).split()) for text in diaries.instances
        } == {gap}
        assert all(text.removesuffix(f" {MISSED}" * gap).split()[-1] != MISSED for text in diaries.instances)


def test_equal_seeds_write_equal_diaries_and_the_parts_differ():
    one, again, other = GymSchedule(rows=80).load(), GymSchedule(rows=80).load(), GymSchedule(rows=80, seed=5).load()
    assert one.train.instances == again.train.instances == GymSchedule(rows=80).synthetic().train.instances
    assert one.train.instances != other.train.instances
    assert len({one.train.instances[:20], one.validation.instances, one.read_test().instances}) == 3


def test_the_recurrent_network_counts_missed_days_and_the_feed_forward_one_guesses(tmp_path, console):
    outcome = run(apply_overrides(RECIPE, SMALL), Plan(test=True, force=True), directory=tmp_path, console=console)
    found = {figure.name: figure.value for figure in outcome.findings.figures}
    recurrent = [found[f"recurrent, {gap} missed"] for gap in range(8)]
    yesterday = [found[f"feed-forward, {gap} missed"] for gap in range(8)]
    assert min(recurrent) > 0.99
    assert yesterday[0] == 1
    assert max(yesterday[1:]) < LUCK == 0.45
    assert outcome.test.accuracy > 0.99
    assert outcome.findings.missed == ()
    [picture] = outcome.findings.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["dataset"]["form"] == "computed"
    assert metrics["parameters"] <= 2000


def test_a_diary_too_short_for_its_gap_is_refused():
    with pytest.raises(SettingRefused, match=r"data.longest=5: data.longest 5 leaves no day before 7 missed ones"):
        apply_overrides(RECIPE, ["data.longest=5"])
