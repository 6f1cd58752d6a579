"""Single keys of serving.json are changed, or the file is not changed."""

import json

import pytest

from app.repository.canary_file import halt
from app.repository.places import Place
from app.repository.rollout_policy import CanaryPair, RollbackPolicy, RolloutPolicy, ShadowPolicy
from app.repository.serving_file import promote, rollback, rollback_target

PAIR, JUDGED = CanaryPair("m", 1, 2), RolloutPolicy(shadow=ShadowPolicy())


@pytest.mark.parametrize(
    ("labels", "is_written"),
    [
        ({"stable": 1, "canary": 2}, True),
        ({"canary": 2}, True),
        ({"stable": 1, "canary": 3}, False),
        ({"stable": 3, "canary": 2}, False),
        ({"stable": 2}, False),
        ({}, False),
    ],
)
def test_a_halt_is_written_only_where_the_two_versions_are_named_that_it_was_judged_for(tmp_path, labels, is_written):
    path = tmp_path / "serving.json"
    before = {"version_labels": labels, "rollout": {"shadow": {}}}
    path.write_text(json.dumps(before))
    assert halt(Place(tmp_path.name, tmp_path), PAIR, "too bad", judged=JUDGED) is is_written
    rollout = {"shadow": {}, "halted": "too bad"} if is_written else {"shadow": {}}
    assert json.loads(path.read_text()) == before | {"rollout": rollout}


def test_no_halt_is_written_once_the_limits_are_others(tmp_path):
    (tmp_path / "serving.json").write_text('{"version_labels": {"stable": 1, "canary": 2}, "rollout": {"shadow": {}}}')
    other = JUDGED.model_copy(update={"rollback": RollbackPolicy(max_error_rate=0.1)})
    assert not halt(Place(tmp_path.name, tmp_path), PAIR, "too bad", judged=other)
    assert halt(Place(tmp_path.name, tmp_path), PAIR, "too bad", judged=JUDGED)
    assert not halt(Place(tmp_path.name, tmp_path), PAIR, "twice", judged=JUDGED)


def test_without_a_file_no_halt_is_written(tmp_path):
    assert not halt(Place(tmp_path.name, tmp_path), PAIR, "too bad", judged=JUDGED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "default", "version", "after"),
    [
        ({}, None, 2, {"stable": 2, "promoted": []}),
        ({}, 2, 1, {"stable": 1, "promoted": []}),
        ({"stable": 3, "promoted": [1, 2]}, None, 2, {"stable": 2, "promoted": [1]}),
        ({"stable": 3, "promoted": [1, 2]}, 3, 2, {"stable": 2, "promoted": [1]}),
        ({"stable": 3, "promoted": [1, 2]}, 2, 2, {"stable": 2, "promoted": [1]}),
        ({"stable": 3, "promoted": []}, 1, 1, {"stable": 1, "promoted": []}),
        ({"stable": 3, "promoted": [1, 7]}, None, 1, {"stable": 1, "promoted": []}),
        ({"stable": 3, "promoted": [2]}, 7, 2, {"stable": 2, "promoted": []}),
    ],
)
def test_a_rollback_goes_to_the_version_promoted_before_or_below_or_withdraws(
    tmp_path, before, default, version, after
):
    path = tmp_path / "serving.json"
    labels = {"stable": before["stable"]} if "stable" in before else {}
    path.write_text(json.dumps({"version_labels": labels, "promoted": before.get("promoted", [])}))
    versions = [3, 2, 1]
    assert rollback_target(Place(tmp_path.name, tmp_path), default=default, versions=versions) == version
    done = rollback(Place(tmp_path.name, tmp_path), default=default, versions=versions)
    assert (done.version, done.before) == (version, default or before.get("stable", 3))
    assert json.loads(path.read_text()) == {
        "version_labels": {"stable": after["stable"]},
        "promoted": after["promoted"],
    }


@pytest.mark.parametrize(
    ("default", "version", "promoted"),
    [(None, 1, [2, 3]), (2, 1, [2]), (3, 1, [2, 3]), (1, 1, [2]), (None, 3, [2])],
)
def test_a_promotion_remembers_the_version_before_once(tmp_path, default, version, promoted):
    (tmp_path / "serving.json").write_text('{"version_labels": {"stable": 3}, "promoted": [2]}')
    done = promote(Place(tmp_path.name, tmp_path), version, default=default, versions=[3, 2, 1])
    assert (done.version, done.before) == (version, default or 3)
    assert json.loads((tmp_path / "serving.json").read_text()) == {
        "version_labels": {"stable": version},
        "promoted": promoted,
    }


def test_promotions_are_undone_one_by_one_also_where_a_version_was_promoted_twice(tmp_path):
    versions = [2, 1]
    for version in (1, 2, 1):
        promote(Place(tmp_path.name, tmp_path), version, default=None, versions=versions)
    undone = [rollback(Place(tmp_path.name, tmp_path), default=None, versions=versions).version for _ in range(3)]
    assert undone == [2, 1, 2]
    assert json.loads((tmp_path / "serving.json").read_text())["promoted"] == []
