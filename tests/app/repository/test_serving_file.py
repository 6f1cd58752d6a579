"""Single keys of serving.json are changed, or the file stays as it is."""

import json

import pytest

from app.repository.policy import CanaryPair, RollbackPolicy, RolloutPolicy, ShadowPolicy
from app.repository.serving_file import halt

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
    assert halt(tmp_path, PAIR, "too bad", judged=JUDGED) is is_written
    rollout = {"shadow": {}, "halted": "too bad"} if is_written else {"shadow": {}}
    assert json.loads(path.read_text()) == before | {"rollout": rollout}


def test_no_halt_is_written_once_the_limits_are_others(tmp_path):
    (tmp_path / "serving.json").write_text('{"version_labels": {"stable": 1, "canary": 2}, "rollout": {"shadow": {}}}')
    other = JUDGED.model_copy(update={"rollback": RollbackPolicy(max_error_rate=0.1)})
    assert not halt(tmp_path, PAIR, "too bad", judged=other)
    assert halt(tmp_path, PAIR, "too bad", judged=JUDGED)
    assert not halt(tmp_path, PAIR, "twice", judged=JUDGED)


def test_without_a_file_no_halt_is_written(tmp_path):
    assert not halt(tmp_path, PAIR, "too bad", judged=JUDGED)
    assert list(tmp_path.iterdir()) == []
