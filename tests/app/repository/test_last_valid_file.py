"""The copy of the last valid serving.json."""

import os

import pytest

from app.repository.last_valid_file import LAST_VALID_FILE, last_valid, policy_in_effect, remember
from app.repository.policy import ServingPolicy
from app.repository.policy_file import read_policy
from app.repository.scan import fingerprint

TEXT = '{"version_labels": {"stable": 1, "canary": 2}, "promoted": [3], "rollout": {"canary": {"percent": 5}}}'


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "serving.json").write_text(TEXT)
    return read_policy(tmp_path)


def test_the_kept_copy_has_the_same_meaning_and_is_written_once(tmp_path, policy):
    assert last_valid(tmp_path) is None
    before = fingerprint(tmp_path)
    remember(tmp_path, policy)
    assert last_valid(tmp_path) == policy
    assert fingerprint(tmp_path) == before
    written = os.stat(tmp_path / LAST_VALID_FILE)
    remember(tmp_path, policy)
    assert os.stat(tmp_path / LAST_VALID_FILE).st_ino == written.st_ino
    remember(tmp_path, ServingPolicy())
    assert last_valid(tmp_path) == ServingPolicy()
    assert sorted(os.listdir(tmp_path)) == [LAST_VALID_FILE, "serving.json"]


def test_without_serving_json_no_copy_is_kept(tmp_path, policy):
    remember(tmp_path, policy)
    (tmp_path / "serving.json").unlink()
    for _ in range(2):
        remember(tmp_path, ServingPolicy())
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", '{"of_a_later_release": 1}'])
def test_an_unreadable_copy_counts_as_missing(tmp_path, text):
    (tmp_path / LAST_VALID_FILE).write_text(text)
    assert last_valid(tmp_path) is None


def test_the_last_valid_policy_is_in_effect_and_a_mistake_is_reported(tmp_path, policy):
    mistakes = []
    assert policy_in_effect(tmp_path, on_mistake=mistakes.append) == policy
    (tmp_path / "serving.json").write_text("{")
    assert policy_in_effect(tmp_path) == ServingPolicy(), "nobody knows"
    remember(tmp_path, policy)
    assert mistakes == []
    assert policy_in_effect(tmp_path, on_mistake=mistakes.append) == policy
    [mistake] = mistakes
    assert mistake.message.startswith(f"{tmp_path / 'serving.json'}: not JSON")
