"""The file of API keys."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.control.keys_file import SLOWEST_RATE, add_key, read_keys
from app.errors import KeysUnreadable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


def test_the_file_contains_a_hash_and_only_its_owner_may_read_it(path):
    key = add_key(path, name="app", scopes=["infer"], rate=None)
    assert len(key) >= 43
    assert key not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in read_keys(path).keys] == ["app"]


def test_keys_that_are_made_in_parallel_are_all_kept(path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: add_key(path, name=name, scopes=["infer"], rate=None), "abcdefgh"))
    assert sorted(entry.name for entry in read_keys(path).keys) == list("abcdefgh")


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "one", "scopes": ["infer"], "rate": None},
        {"name": "a b", "scopes": ["infer"], "rate": None},
        {"name": "two", "scopes": ["all"], "rate": None},
        {"name": "two", "scopes": [], "rate": None},
        {"name": "two", "scopes": ["infer"], "rate": 0},
        {"name": "two", "scopes": ["infer"], "rate": 5e-324},
        {"name": "two", "scopes": ["infer"], "rate": 0.9 * SLOWEST_RATE},
        {"name": "two", "scopes": ["infer"], "rate": float("inf")},
        {"name": "two", "scopes": ["infer"], "rate": float("nan")},
    ],
)
def test_a_key_that_breaks_a_rule_is_not_made(path, arguments):
    add_key(path, name="one", scopes=["infer"], rate=None)
    before = path.read_text()
    with pytest.raises(KeysUnreadable):
        add_key(path, **arguments)
    assert path.read_text() == before
    assert os.listdir(path.parent) == [path.name]
