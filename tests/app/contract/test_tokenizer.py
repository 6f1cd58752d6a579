"""Text to ids."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract.tokenizer import (
    _MARKUP,
    _TOKENS,
    LINE_END,
    PADDING_ID,
    UNKNOWN,
    UNKNOWN_ID,
    Tokenizer,
    join_tokens,
    most_frequent_tokens,
    pad,
    split_tokens,
    text_from_bytes,
)
from app.errors import VersionRefused, WrongFormat

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


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("ROMEO:\nO, she", ["romeo", ":", LINE_END, "o", ",", "she"]),
        ("Who's there?\n\n", ["who's", "there", "?", LINE_END, LINE_END]),
        ("one\r\ntwo", ["one", LINE_END, "two"]),
        ("one\rtwo", ["one", LINE_END, "two"]),
        ("one\r\n\r\ntwo\n\rthree", ["one", LINE_END, LINE_END, "two", LINE_END, LINE_END, "three"]),
        ("a; b: c. d! e? f,", ["a", ";", "b", ":", "c", ".", "d", "!", "e", "?", "f", ","]),
        ("no <br /> end <line> here", ["no", "end", "here"]),
        ("<p>one</p>\n<p>two</p>", ["one", LINE_END, "two"]),
        ("love ＜i＞thee﹖", ["love", "thee", "?"]),
        ("tabs\tand — dashes", ["tabs", "and", "dashes"]),
        ("3.14", ["3", ".", "14"]),
        ("(—)", []),
    ],
)
def test_how_lines_are_split(text, tokens):
    assert split_tokens(text, "lines") == tokens


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_four_of_the_marks_are_not_words(end):
    assert split_tokens(f"One, two;{end}three: four. Five!{end}Six?") == [
        *("one", "two", "three", "four", "five", "!", "six", "?")
    ]


def test_tokens_are_joined_as_they_are_written():
    tokens = ["romeo", ":", LINE_END, "o", ",", "who's", "there", "?", LINE_END, LINE_END, "!", "come"]
    assert join_tokens(tokens) == "romeo:\no, who's there?\n\n! come"
    assert join_tokens([]) == ""


@given(st.text(max_size=200))
def test_joined_tokens_of_any_text_are_split_into_the_same_tokens(text):
    tokens = split_tokens(text, "lines")
    assert split_tokens(join_tokens(tokens), "lines") == tokens


PIECES = st.sampled_from([LINE_END, *"!?.,;:", "o", "who's", "14", "straße", "l'an'née"])


@given(
    st.lists(PIECES | st.text(max_size=8).flatmap(lambda text: st.sampled_from(split_tokens(text, "lines") or ["a"])))
)
def test_tokens_in_any_order_are_split_into_themselves_once_joined(tokens):
    assert split_tokens(join_tokens(tokens), "lines") == tokens


@given(st.text(max_size=200))
def test_a_line_end_is_the_only_token_in_angle_brackets(text):
    for scheme in ("words", "lines"):
        tokens = split_tokens(text, scheme)
        assert not any("<" in token or ">" in token or not token for token in tokens if token != LINE_END)
        assert scheme == "lines" or LINE_END not in tokens


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


def test_ids_from_1_up_have_the_names_of_the_unknown_token_and_of_the_vocabulary():
    tokenizer = Tokenizer((LINE_END, "king"), max_length=10, keep="last", scheme="lines")
    assert tokenizer.names == (UNKNOWN, LINE_END, "king")
    assert len(tokenizer.names) == tokenizer.id_count - 1
    ids = tokenizer.encode("The king\n")
    assert [tokenizer.names[i - 1] for i in ids] == tokenizer.decode(ids) == [UNKNOWN, "king", LINE_END]


def test_padding_is_left_out_when_ids_are_converted_to_text():
    tokenizer = Tokenizer((LINE_END, "king"), max_length=10, keep="last", scheme="lines")
    assert tokenizer.decode([3, 2, PADDING_ID, PADDING_ID]) == ["king", LINE_END]


def test_which_end_of_a_long_text_is_kept():
    text = "the film the !"
    assert Tokenizer(TOKENS, max_length=2, keep="first").encode(text).tolist() == [2, 3]
    assert Tokenizer(TOKENS, max_length=2, keep="last").encode(text).tolist() == [2, 5]


def test_frequent_tokens_first_and_ties_in_alphabetical_order():
    assert most_frequent_tokens(["b a", "b c", "a d"], limit=3) == ["a", "b", "c"]
    assert most_frequent_tokens(["b\na\n", "b, c"], limit=3, scheme="lines") == [LINE_END, "b", ","]


@pytest.mark.parametrize(("keep", "ids"), [("first", [2, 3]), ("last", [2, 5])])
def test_a_vocabulary_survives_the_disk(tmp_path, keep, ids):
    Tokenizer(TOKENS, max_length=2, keep=keep).write(tmp_path / "vocabulary.txt")
    again = Tokenizer.read(tmp_path / "vocabulary.txt", max_length=2, keep=keep)
    assert again.tokens == TOKENS
    assert again.encode("the film, the!").tolist() == ids


def test_a_vocabulary_may_have_the_line_ends_of_any_system(tmp_path):
    (tmp_path / "vocabulary.txt").write_bytes(b"the\r\nfilm\rdon't\n!")
    assert Tokenizer.read(tmp_path / "vocabulary.txt", max_length=5, keep="last").tokens == TOKENS


def test_a_vocabulary_with_the_end_of_a_line_survives_the_disk(tmp_path):
    path = tmp_path / "vocabulary.txt"
    tokens = (LINE_END, ",", "who's", "straße")
    Tokenizer(tokens, max_length=5, keep="last", scheme="lines").write(path)
    assert path.read_bytes() == "<line>\n,\nwho's\nstraße\n".encode()
    again = Tokenizer.read(path, max_length=5, keep="last", scheme="lines")
    assert again.tokens == tokens
    assert again.encode("Who's,\r\n").tolist() == [4, 3, 2]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"a\na\n", "'a' occurs twice"),
        (b"x" * 101 + b"\n" + b"x" * 101, f"token '{'x' * 100}' occurs twice"),
        (b"", "one token a line"),
        (b"a\n\nb\n", "no empty line"),
        (b"\xff", "utf-8"),
    ],
)
def test_a_bad_vocabulary_is_refused(tmp_path, content, rule):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(content)
    with pytest.raises(VersionRefused, match=rf"vocabulary\.txt: .*{rule}"):
        Tokenizer.read(path, max_length=5, keep="last")


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\n" * 2**20, "no empty line"),
        (b"x\n" * (2**20 + 1), "at most 1048576 tokens"),
        (b"x" * 2**25 + b"y", "at most 33554432 bytes are read"),
        (b"\xff\n", "codec can't decode"),
    ],
)
def test_an_absurd_vocabulary_is_refused(tmp_path, data, rule):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(data)
    with pytest.raises(VersionRefused, match=rule):
        Tokenizer.read(path, max_length=5, keep="last")


def test_a_vocabulary_that_is_missing_is_named(tmp_path):
    with pytest.raises(VersionRefused, match=r"vocabulary\.txt: .*No such file"):
        Tokenizer.read(tmp_path / "vocabulary.txt", max_length=5, keep="last")


def test_bytes_that_are_not_utf8_are_refused_and_the_message_names_the_first_wrong_byte():
    assert text_from_bytes("straße".encode()) == "straße"
    with pytest.raises(WrongFormat, match="3 bytes are not UTF-8 text: byte 1 is 0xff"):
        text_from_bytes(b"a\xff\xfe")


def test_padding_follows_the_text():
    rows = [np.array([2, 3], np.int32), np.array([4], np.int32)]
    assert pad(rows).dtype == np.int32
    assert pad(rows).tolist() == [[2, 3], [4, 0]]
    assert pad(rows, length=3).tolist() == [[2, 3, 0], [4, 0, 0]]


ODD = st.sampled_from(
    ["'", "''", "<", ">", "<br />", "!", "?", "_", "-", " ", "\n", "\t", "\x1c", "\x0b", "A", "z9", "don't", "’"]
)


@settings(max_examples=500)
@given(st.one_of(st.text(st.characters(max_codepoint=127)), st.lists(ODD).map("".join)))
def test_the_fast_way_splits_ascii_as_the_regular_expression_does(text):
    plain = _MARKUP.sub(" ", unicodedata.normalize("NFKC", text)).replace("’", "'").lower()
    assert split_tokens(text) == _TOKENS["words"].findall(plain)


MARKS = st.text(st.sampled_from("\u0300\u0316\u0301\u0344\uff9e\uff9f\u0f73"), max_size=30)
WITH_MARKS = st.lists(st.one_of(st.text(max_size=5), MARKS.map("a{}b".format), ODD)).map("".join)


@settings(max_examples=500)
@given(WITH_MARKS, st.sampled_from(["words", "lines"]))
def test_a_text_without_a_run_of_more_than_thirty_marks_is_split_as_if_there_were_no_bound(text, scheme):
    plain = _MARKUP.sub(" ", unicodedata.normalize("NFKC", text)).replace("’", "'").lower()
    tokens = _TOKENS[scheme].findall(plain)
    assert split_tokens(text, scheme) == [LINE_END if token in {"\n", "\r\n", "\r"} else token for token in tokens]


def test_the_letters_around_a_long_run_of_marks_are_kept():
    assert split_tokens("caf" + "e\u0301" + "\u0316\u0300" * 50_000 + " noir") == ["café", "noir"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("e" + "\u0316" * 29 + "\u0301\u0316", ["é"]),
        ("e" + "\u0316" * 30 + "\u0301", ["e"]),
        # Below, a joiner between "<" and the stroke that combines with it: the tag remains.
        ("a <" + "\u0316" * 29 + "\u0338b> c", ["a", "b", "c"]),
        ("a <" + "\u0316" * 30 + "\u0338b> c", ["a", "c"]),
        ("a" + "." * 29 + "<\u0338b> c", ["a", "b", "c"]),
    ],
)
def test_the_thirty_first_mark_on_a_character_is_not_part_of_it(text, tokens):
    assert split_tokens(text) == tokens
