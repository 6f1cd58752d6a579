"""Rules of JSON text, and that checking them takes linear time."""

import json
from time import process_time

import pytest

from app.contract.files.json_text import MAX_DEPTH, MAX_KEYS, depth_of, read_json
from app.errors import InvalidInput


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "an object has the key 'a' twice; send each key once"),
        ('[{"x": {"b": 1, "b": ":"}}]', "an object has the key 'b' twice; send each key once"),
        ('{"a": 1, "\\u0061": 1}', "an object has the key 'a' twice; send each key once"),
        ('["\\ud800"]', "a string holds \\ud800 alone, which is half of a character; send both halves"),
        ('{"\\uDFFF\\ud800": 1}', "a string holds \\udfff alone, which is half of a character; send both halves"),
        ('{"a\\u0000": 1}', "a key holds the character \\u0000; leave it out"),
        ("[1e400]", "the number 1e400 is too big for 64 bits; write Infinity for an infinite value"),
        ("[-1e400]", "the number -1e400 is too big for 64 bits; write Infinity for an infinite value"),
        (f"[{'9' * 400}.0]", f"the number {'9' * 20}... is too big for 64 bits; write Infinity for an infinite value"),
        ("[" * 65 + "]" * 65, "arrays or objects are nested too deep; at most 64 levels are read"),
        ("[" * 900 + "NaN" + "]" * 900, "arrays or objects are nested too deep; at most 64 levels are read"),
        ("[" * 10**5, "arrays or objects are nested too deep; at most 64 levels are read"),
        (f"[{'9' * 5000}]", "an integer has too many digits"),
        ("[1", "Expecting ',' delimiter at offset: 2"),
    ],
)
def test_json_that_breaks_a_rule_is_refused(text, error, strict):
    with pytest.raises(InvalidInput) as refusal:
        read_json(text.encode(), strict=strict)
    assert str(refusal.value) == f"JSON Parse error: {error}"


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": [1, -2.5e3, "x:y", null, true]}, "b": {"a": 1}}',
        '{"a:b": ":", "c": "\\u0000"}',
        '{"\\ud83d\\ude00": "\\ud83d\\ude00"}',
        "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        '"[[[[" ',
        "null",
        "[1e308, 1e-400]",
    ],
)
def test_other_json_is_read_as_the_stdlib_reads_it(text, strict):
    assert read_json(text.encode(), strict=strict) == json.loads(text)


def test_too_many_keys_are_refused():
    body = json.dumps({str(number): 0 for number in range(MAX_KEYS + 1)}).encode()
    with pytest.raises(InvalidInput, match="has 1025 keys; at most 1024 are read"):
        read_json(body, strict=True)


@pytest.mark.parametrize(
    ("text", "depth"),
    [("[[1], [[{}]]]", 4), ('["[[[\\"[[", [1]]', 2), ('{"a": "]]]]", "b": [1]}', 2), ("[[[" * 50 + '"]]]', 150)],
)
def test_the_depth_counts_no_bracket_in_a_string(text, depth):
    brackets = 200
    assert depth_of((text + "[]" * brackets).encode()) in {depth, depth + 1}


@pytest.mark.parametrize("piece", ['\\"', '"', '"\\', "[", "[]", '"a":1,', '{"a":', "1e9,", '"\\ud800"', "\\u"])
def test_the_time_for_hostile_text_grows_linearly_with_its_size(piece):
    def cost(times):
        body = b'["' + piece.encode() * times
        best = 10.0
        for _ in range(3):
            started = process_time()
            with pytest.raises(InvalidInput):
                read_json(body, strict=True)
            best = min(best, process_time() - started)
        return best

    assert cost(160_000) < 8 * 4 * max(cost(40_000), 0.002)
