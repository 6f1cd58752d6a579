"""Text to ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.tokenizer import PADDING_ID, UNKNOWN_ID, Tokenizer, most_frequent_tokens, pad, split_tokens
from app.errors import VersionRefused

TOKENS = ("the", "film", "don't", "!")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The FILM!", ["the", "film", "!"]),
        ("don't — don’t", ["don't", "don't"]),
        ("<br />the<br>film", ["the", "film"]),
        ("ﬁlm", ["film"]),
        ("a_b", ["a", "b"]),
        ("'quoted'", ["quoted"]),
        ("8/10", ["8", "10"]),
        ("...", []),
    ],
)
def test_how_text_is_split(text, tokens):
    assert split_tokens(text) == tokens


def test_known_and_unknown_words():
    tokenizer = Tokenizer(TOKENS, max_length=10, keep="first")
    assert tokenizer.encode("The film, nobody don't").tolist() == [2, 3, UNKNOWN_ID, 4]
    assert tokenizer.id_count == 6


@given(st.text(max_size=200))
def test_any_text_gives_one_to_max_length_ids_without_padding(text):
    ids = Tokenizer(TOKENS, max_length=5, keep="last").encode(text)
    assert ids.dtype == np.int32
    assert 1 <= len(ids) <= 5
    assert PADDING_ID not in ids


def test_which_end_of_a_long_text_is_kept():
    text = "the film the !"
    assert Tokenizer(TOKENS, max_length=2, keep="first").encode(text).tolist() == [2, 3]
    assert Tokenizer(TOKENS, max_length=2, keep="last").encode(text).tolist() == [2, 5]


def test_frequent_tokens_first_and_ties_in_alphabetical_order():
    assert most_frequent_tokens(["b a", "b c", "a d"], limit=3) == ["a", "b", "c"]


def test_a_vocabulary_survives_the_disk(tmp_path):
    Tokenizer(TOKENS, max_length=5, keep="last").write(tmp_path / "vocabulary.txt")
    again = Tokenizer.read(tmp_path / "vocabulary.txt", max_length=5, keep="last")
    assert again.tokens == TOKENS


@pytest.mark.parametrize(("content", "rule"), [(b"a\na\n", "'a' occurs twice"), (b"", "one token"), (b"\xff", "utf-8")])
def test_a_bad_vocabulary_is_refused(tmp_path, content, rule):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(content)
    with pytest.raises(VersionRefused, match=rule):
        Tokenizer.read(path, max_length=5, keep="last")


def test_padding_follows_the_text():
    rows = [np.array([2, 3], np.int32), np.array([4], np.int32)]
    assert pad(rows).tolist() == [[2, 3], [4, 0]]
    assert pad(rows, length=3).tolist() == [[2, 3, 0], [4, 0, 0]]
