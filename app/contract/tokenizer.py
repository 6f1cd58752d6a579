"""Text to token ids and back, from vocabulary.txt: the same code in training and in serving."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from app.contract.files.regular import read_file
from app.errors import VersionRefused, WrongFormat

VOCABULARY_LIMIT_BYTES = 32 * 2**20
MOST_TOKENS = 2**20

PADDING_ID = 0
UNKNOWN_ID = 1
FIRST_WORD_ID = 2

LINE_END = "<line>"
"""The token of a line end; no word can be spelt like this."""
UNKNOWN = "<unknown>"

Scheme = Literal["words", "lines"]

_MARKUP = re.compile(r"<[^>]*>")
# UAX #15, section 13: no language needs more marks on one letter, and sorting them takes quadratic time.
_MOST_MARKS = 30
_JOINER = "\u034f"  # combining grapheme joiner: a mark that is not reordered and not part of a word
# Marks are not letters, with two exceptions: the halfwidth voiced sound marks, which NFKC turns into marks.
_LONG_RUN = re.compile(rf"[\W\uff9e\uff9f]{{{_MOST_MARKS + 1},}}")
_WORD = r"[^\W_]+(?:'[^\W_]+)*"
_TOKENS = {"words": re.compile(rf"{_WORD}|[!?]"), "lines": re.compile(rf"{_WORD}|[!?.,;:]|\r\n?|\n")}
_LINE_ENDS = frozenset({"\n", "\r\n", "\r"})
_MARKS = frozenset("!?.,;:")
# ASCII characters for words: letters in lower case, digits, inner apostrophes, two marks; spaces for all others.
_ASCII_WORDS = "".join(c.lower() if c.isalnum() or c in "'!?" else " " for c in map(chr, range(128)))


def split_tokens(text: str, scheme: Scheme = "words") -> list[str]:
    """Split text into lower-case words (inner apostrophes kept) and some of the characters between them.

    Unicode is first normalised to NFKC, so that a word has only one spelling; HTML tags count as spaces. The cost is
    linear in the length of any text.

    Args:
        text: any text.
        scheme: ``words`` also keeps the marks ! and ?; ``lines`` keeps all six marks that end or separate sentences,
            and line ends (\\n, \\r\\n or \\r) as ``LINE_END``.
    """
    if scheme == "words" and text.isascii():
        return _split_ascii_words(text)
    plain = _without_markup(unicodedata.normalize("NFKC", _stream_safe(text))).replace("’", "'").lower()
    tokens = _TOKENS[scheme].findall(plain)
    return [LINE_END if token in _LINE_ENDS else token for token in tokens] if scheme == "lines" else tokens


def _split_ascii_words(text: str) -> list[str]:
    """``split_tokens`` for most texts, without a regular expression match per word: three times as fast."""
    plain = _without_markup(text).translate(_ASCII_WORDS)
    for mark in "!?":
        if mark in plain:
            plain = plain.replace(mark, f" {mark} ")
    tokens = plain.split()
    if "'" not in plain:
        return tokens
    pattern = _TOKENS["words"]
    return [part for token in tokens for part in (pattern.findall(token) if "'" in token else (token,))]


def _without_markup(text: str) -> str:
    """The text with a space for each tag. No tag ends after the last ``>``, so the rest is not searched."""
    end = text.rfind(">") + 1
    return _MARKUP.sub(" ", text[:end]) + text[end:]


def _stream_safe(text: str) -> str:
    """The text with a joiner after each 30th mark in runs of more than 30 combining marks.

    Source: Unicode Standard Annex #15, section 13, Stream-Safe Text Process.
    """
    return _LONG_RUN.sub(_with_joiners, text) if not text.isascii() else text


def _with_joiners(run: re.Match[str]) -> str:
    if run[0].isascii():
        return run[0]
    parts: list[str] = []
    marks = 0
    for character in run[0]:
        # One character may decompose into several marks, even if it is not a mark itself.
        marks = marks + 1 if unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) else 0
        if marks > _MOST_MARKS:
            parts.append(_JOINER)
            marks = 1
        parts.append(character)
    return "".join(parts)


def text_from_bytes(data: bytes) -> str:
    """Bytes as text.

    Raises:
        WrongFormat: not UTF-8; names the first wrong byte.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WrongFormat(
            f"{len(data)} bytes are not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}"
        ) from error


def join_tokens(tokens: Iterable[str]) -> str:
    """A text that ``split_tokens(text, "lines")`` splits into ``tokens`` again."""
    text = ""
    for token in tokens:
        text += continuation(text, token)
    return text


def continuation(text: str, token: str) -> str:
    """The text that ``token`` adds to ``text``: the token, after a space if one belongs between the two."""
    if token == LINE_END:
        return "\n"
    return token if token in _MARKS or not text or text[-1].isspace() else f" {token}"


def most_frequent_tokens(texts: Iterable[str], *, limit: int, scheme: Scheme = "words") -> list[str]:
    """The ``limit`` most frequent tokens of ``texts``, by decreasing frequency, ties in alphabetical order."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split_tokens(text, scheme))
    return sorted(counts, key=lambda token: (-counts[token], token))[:limit]


class Tokenizer:
    """Maps text to ids. Id 0 is padding and has no token; id 1 is used for all unknown tokens.

    Args:
        tokens: the vocabulary; token i has id i + 2.
        max_length: most ids of one text.
        keep: the end of a longer text that is kept.
        scheme: how text is split.
    """

    def __init__(
        self, tokens: Sequence[str], *, max_length: int, keep: Literal["first", "last"], scheme: Scheme = "words"
    ) -> None:
        self.tokens = tuple(tokens)
        self.max_length = max_length
        self.keep = keep
        self.scheme: Scheme = scheme
        self._ids = {token: index for index, token in enumerate(self.tokens, start=FIRST_WORD_ID)}

    @property
    def id_count(self) -> int:
        """Number of ids including padding and unknown: valid ids are 0 to ``id_count - 1``."""
        return len(self.tokens) + FIRST_WORD_ID

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the ids from 1 up: the unknown token, then the vocabulary."""
        return (UNKNOWN, *self.tokens)

    def encode(self, text: str) -> npt.NDArray[np.int32]:
        """Token ids of ``text``: int32, shape (length,), 1 <= length <= max_length, no padding.

        A text without tokens becomes one unknown token.
        """
        return np.fromiter(map(self._ids.get, self.split(text), repeat(UNKNOWN_ID)), np.int32)

    def split(self, text: str) -> list[str]:
        """The tokens of which ``encode`` gives the ids."""
        tokens = split_tokens(text, self.scheme) or [UNKNOWN]
        return tokens[: self.max_length] if self.keep == "first" else tokens[-self.max_length :]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The tokens of ``ids``, without padding; id 1 becomes ``<unknown>``."""
        words = {PADDING_ID: "", UNKNOWN_ID: UNKNOWN}
        named = (words[i] if i in words else self.tokens[i - FIRST_WORD_ID] for i in ids)
        return [word for word in named if word]

    def write(self, path: Path) -> None:
        """Write the vocabulary, one token per line, UTF-8."""
        path.write_text("".join(f"{token}\n" for token in self.tokens), encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, path: Path, *, max_length: int, keep: Literal["first", "last"], scheme: Scheme = "words") -> Self:
        """Read a vocabulary written by ``write``.

        Raises:
            VersionRefused: the file is missing, or see ``parse``.
        """
        try:
            data = read_file(path, VOCABULARY_LIMIT_BYTES)
        except OSError as error:
            raise VersionRefused(f"{path}: {error}") from error
        return cls.parse(path, data, max_length=max_length, keep=keep, scheme=scheme)

    @classmethod
    def parse(cls, path: Path, data: bytes, *, max_length: int, keep: Literal["first", "last"], scheme: Scheme) -> Self:
        """A vocabulary from the bytes of ``path``.

        Raises:
            VersionRefused: not UTF-8, empty, more than 2**20 tokens, or a duplicate token.
        """
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if (lines := data.count(b"\n")) > MOST_TOKENS:
            raise VersionRefused(f"{path}: {lines} lines; a vocabulary has at most {MOST_TOKENS} tokens")
        try:
            tokens = data.decode("utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise VersionRefused(f"{path}: {error}") from error
        if tokens[-1] == "":
            tokens.pop()
        if not tokens or "" in tokens:
            raise VersionRefused(f"{path}: a vocabulary holds one token a line and no empty line")
        if len(set(tokens)) != len(tokens):
            twice = Counter(tokens).most_common(1)[0][0]
            raise VersionRefused(f"{path}: token {twice[:100]!r} occurs twice")
        return cls(tokens, max_length=max_length, keep=keep, scheme=scheme)


def pad(rows: Sequence[npt.NDArray[np.int32]], *, length: int | None = None) -> npt.NDArray[np.int32]:
    """Stack rows of different length to int32 (rows, length), padded at their end with id 0.

    Args:
        rows: int32 arrays of shape (n,); at least one.
        length: width of the result, at least the longest row; None takes the longest row's.
    """
    width = max(len(row) for row in rows) if length is None else length
    batch = np.full((len(rows), width), PADDING_ID, dtype=np.int32)
    for index, row in enumerate(rows):
        batch[index, : len(row)] = row
    return batch
