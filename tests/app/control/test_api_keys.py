"""The permissions of API keys, and changes of their file."""

import json
import os
import resource
from contextlib import suppress

import pytest

from app.control.api_keys import ApiKeys
from app.control.credentials import read_credentials
from app.control.keys_file import SLOWEST_RATE, add_key
from app.errors import Forbidden, KeysUnreadable, RateExceeded, Unauthenticated
from tests.support.fakes import FakeClock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def clock():
    return FakeClock()


def ask(keys, key, scope="infer"):
    return keys.check(scope, read_credentials([(b"authorization", f"Bearer {key}".encode())]))


def test_a_key_permits_what_its_scopes_allow_in_every_header(path, clock):
    one = add_key(path, name="one", scopes=["infer", "metrics"], rate=None)
    two = add_key(path, name="two", scopes=["admin"], rate=None)
    keys = ApiKeys(path, clock=clock)
    assert ask(keys, one) == "one"
    assert keys.check("infer", read_credentials([(b"authorization", f"bearer {one}".encode())])) == "one"
    assert keys.check("infer", read_credentials([(b"x-api-key", one.encode())])) == "one"
    assert ask(keys, two, "admin") == "two"
    with pytest.raises(Forbidden, match="the API key 'two' is for admin; 'infer' is required"):
        ask(keys, two)


@pytest.mark.parametrize("given", ["", "x", "atelier_" + "A" * 43, "\u00fc", "a b"])
def test_any_other_key_is_refused(path, clock, given):
    add_key(path, name="one", scopes=["infer"], rate=None)
    with pytest.raises(Unauthenticated):
        ask(ApiKeys(path, clock=clock), given)


def test_a_rate_limits_the_requests_per_second_and_reports_when_to_retry(path, clock):
    key = add_key(path, name="one", scopes=["infer"], rate=2)
    other = add_key(path, name="slow", scopes=["infer"], rate=0.25)
    keys = ApiKeys(path, clock=clock)
    ask(keys, key)
    ask(keys, key)
    with pytest.raises(RateExceeded, match="allows 2 requests per second") as refused:
        ask(keys, key)
    assert refused.value.retry_after_s == 1
    ask(keys, other)
    with pytest.raises(RateExceeded) as refused:
        ask(keys, other)
    assert refused.value.retry_after_s == 4
    clock.now += 0.5
    ask(keys, key)
    with pytest.raises(RateExceeded):
        ask(keys, key)
    clock.now += 100  # a bucket holds no more than a second's requests
    answered = 0
    with suppress(RateExceeded):
        while True:
            ask(keys, key)
            answered += 1
    assert answered == 2


def test_the_slowest_rate_reports_when_to_retry_too(path, clock):
    key = add_key(path, name="one", scopes=["infer"], rate=SLOWEST_RATE)
    keys = ApiKeys(path, clock=clock)
    ask(keys, key)
    with pytest.raises(RateExceeded) as refused:
        ask(keys, key)
    assert refused.value.retry_after_s == 100_000


def test_a_changed_file_counts_at_the_next_look_and_fills_no_bucket(path, clock):
    key = add_key(path, name="one", scopes=["infer"], rate=1)
    keys = ApiKeys(path, clock=clock)
    ask(keys, key)
    later = add_key(path, name="two", scopes=["infer"], rate=None)
    with pytest.raises(Unauthenticated):
        ask(keys, later)
    keys.reread()
    assert ask(keys, later) == "two"
    with pytest.raises(RateExceeded):
        ask(keys, key)


@pytest.fixture
def no_descriptors():
    """A function after which no file can be opened, and one after which files can be opened again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield (
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard)),
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_could_not_be_read_is_read_at_the_next_look_though_it_has_not_changed(
    path, clock, caplog, no_descriptors
):
    """A key that was revoked while no file could be opened must not stay valid."""
    withdrawn = add_key(path, name="one", scopes=["infer"], rate=None)
    keys = ApiKeys(path, clock=clock)
    path.write_text('{"keys": []}')
    use_up, give_back = no_descriptors
    use_up()
    keys.reread()
    keys.reread()
    give_back()
    assert ask(keys, withdrawn) == "one"
    assert caplog.text.count("the previous keys stay in effect") == 1
    keys.reread()
    with pytest.raises(Unauthenticated):
        ask(keys, withdrawn)


BROKEN = {
    "no JSON": "{",
    "another document": "[]",
    "no list of keys": "{}",
    "an unknown field": '{"keys": [], "more": 1}',
    "a hash that is none": '{"keys": [{"name": "a", "sha256": "s3cret", "scopes": ["infer"]}]}',
    "no scope": json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "scopes": []}]}),
    "a scope twice": json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, "scopes": ["infer", "infer"]}]}),
    "a hash twice": json.dumps({"keys": [{"name": n, "sha256": "0" * 64, "scopes": ["infer"]} for n in "ab"]}),
    "too large": " " * 2**21,
}


@pytest.mark.parametrize("kind", [*BROKEN, "a FIFO", "nothing"])
def test_with_a_broken_file_the_previous_keys_stay_in_effect_and_the_file_is_never_quoted(path, clock, caplog, kind):
    key = add_key(path, name="one", scopes=["infer"], rate=None)
    keys = ApiKeys(path, clock=clock)
    path.unlink()
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind != "nothing":
        path.write_text(BROKEN[kind])
    keys.reread()
    keys.reread()
    assert ask(keys, key) == "one"
    assert caplog.text.count("the previous keys stay in effect") == 1
    assert "s3cret" not in caplog.text
    with pytest.raises(KeysUnreadable):
        ApiKeys(path, clock=clock)
