"""Which bodies are parsed on the event loop, and which in a thread."""

import json

import pytest

from app.edge.codec.media import costs_less_than_a_thread


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [{"exercises": [1]}] * 3_000},
        {"instances": [[1]] * 5_000},
        {"instances": ["a"] * 5_000},
        {"inputs": {f"k{number}": {} for number in range(500)}},
    ],
)
def test_json_of_many_small_parts_is_not_parsed_on_the_event_loop(document):
    body = json.dumps(document).encode()
    assert len(body) < 65_536
    assert not costs_less_than_a_thread("json", body)


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [[[255] * 28] * 28] * 15},
        {"instances": [{"height": 1.5, "width": 2}] * 20},
        {"instances": ["a film as long as this sentence" * 20] * 10},
        {"instances": [[1, 2, 3]] * 20},
    ],
)
def test_ordinary_json_is(document):
    assert costs_less_than_a_thread("json", json.dumps(document).encode())
