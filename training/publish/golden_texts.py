"""Golden texts: written texts, cut to lengths from one token to the maximum, that give every class."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.contract.golden import RawSample
from app.contract.tokenizer import LINE_END, UNKNOWN_ID, Tokenizer
from training.publish.golden_search import ROWS, Judge

CHOICES = 8  # texts of each length to choose from
EXCHANGES, CANDIDATES = 200, 48
RAW_TEXTS = 6
RANDOM_TEXTS = 200

Ids = npt.NDArray[np.int32]


def golden_texts(judge: Judge, tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """64 texts as int32 (length,), without padding, with the lengths of ``spread``, made from pieces of ``texts``.

    Raises:
        GoldenIncomplete: names the class that no text, and no exchange of words, reached, if every class is required.
    """
    rng = np.random.default_rng(20)
    rows: list[Ids] = []
    given: list[int] = []
    for length in spread(tokenizer.max_length):
        choices = np.stack([_written(length, tokenizer, rng, texts) for _ in range(CHOICES)])
        answers = judge.scores(choices).argmax(1)
        fresh = [place for place in range(CHOICES) if answers[place] not in given]
        place = fresh[0] if fresh else len(rows) % CHOICES  # a class without a text yet, else any
        rows.append(choices[place])
        given.append(int(answers[place]))
    for label in judge.wanted:
        if label not in given:
            changed = _exchanged(label, judge, tokenizer, rng)
            if changed is not None:
                place = _dispensable(rows, given)
                rows[place], given[place] = changed, label
    judge.check_all_given([int(judge.scores(row[None])[0].argmax()) for row in rows])
    return rows


def raw_texts(judge: Judge, tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[RawSample, ...]:
    """Some of ``texts``, from the shortest to the longest, and a text without tokens."""
    rising = sorted(texts, key=len)
    chosen = [rising[place] for place in np.linspace(0, len(rising) - 1, RAW_TEXTS).astype(int)]
    samples = {f"text-{number}.txt": text for number, text in enumerate(chosen, start=1)} | {"no-token.txt": "—"}
    labels = judge.labelled({name: tokenizer.encode(text) for name, text in samples.items()})
    return tuple(RawSample(name=name, data=samples[name].encode(), label=label) for name, label in labels.items())


def random_texts(tokenizer: Tokenizer) -> list[str]:
    """Texts of 4 to 40 random words of the vocabulary, frequent ones more often; they resemble no text of a data set.

    Source of the frequencies: Zipf's law, the n-th word with a share in proportion to 1/n.
    """
    rng = np.random.default_rng(20)
    words = [token for token in tokenizer.tokens if token != LINE_END] or ["text"]
    shares = 1 / np.arange(1, len(words) + 1)
    shares /= shares.sum()
    return [" ".join(rng.choice(words, int(rng.integers(4, 41)), p=shares)) for _ in range(RANDOM_TEXTS)]


def spread(longest: int) -> list[int]:
    """64 lengths from 1 to ``longest``, short ones denser; neighbours differ, so that batches are padded."""
    rising = np.geomspace(1, longest, ROWS).round().astype(int)
    return [int(length) for pair in zip(rising[: ROWS // 2], rising[ROWS // 2 :], strict=True) for length in pair]


def _written(length: int, tokenizer: Tokenizer, rng: np.random.Generator, texts: Sequence[str]) -> Ids:
    """A text of exactly ``length`` tokens."""
    ids = np.zeros(0, np.int32)
    while len(ids) < length:
        ids = np.concatenate([ids, tokenizer.encode(texts[int(rng.integers(len(texts)))])])
    return ids[-length:] if tokenizer.keep == "last" else ids[:length]


def _dispensable(rows: list[Ids], given: list[int]) -> int:
    """Index of a row that is neither the shortest nor the longest, and not the only one of its class."""
    often = Counter(given)
    lengths = [len(row) for row in rows]
    return next(
        place
        for place in range(len(rows) // 2, len(rows))
        if often[given[place]] > 1 and lengths[place] not in {min(lengths), max(lengths)}
    )


def _exchanged(label: int, judge: Judge, tokenizer: Tokenizer, rng: np.random.Generator) -> Ids | None:
    """A text that gives ``label``: exchanges one word at a time for the one of 48 that raises its probability most.

    None if that fails and not every class is required.
    """
    text = rng.integers(UNKNOWN_ID, tokenizer.id_count, 12).astype(np.int32)[: tokenizer.max_length]
    for step in range(EXCHANGES):
        candidates = np.repeat(text[None], CANDIDATES, axis=0)
        candidates[1:, step % len(text)] = rng.integers(UNKNOWN_ID, tokenizer.id_count, CANDIDATES - 1)
        answers = judge.scores(candidates)
        text = candidates[int(answers[:, label].argmax())]
        if (answers.argmax(1) == label).any():
            return np.asarray(candidates[int(np.argmax(answers.argmax(1) == label))])
    if judge.every_class:
        raise judge.never(label)
    return None
