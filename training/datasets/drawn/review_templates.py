"""Film reviews put together from templates, written for this project."""

from collections.abc import Sequence

import numpy as np

SUBJECTS = (
    "film",
    "movie",
    "story",
    "plot",
    "script",
    "acting",
    "cast",
    "ending",
    "soundtrack",
    "direction",
    "dialogue",
    "pace",
)
PEOPLE = ("the director", "the lead actor", "the writer", "the whole cast", "the villain", "the camera work")
GOOD = (
    "wonderful",
    "brilliant",
    "moving",
    "funny",
    "superb",
    "excellent",
    "charming",
    "beautiful",
    "perfect",
    "gripping",
)
BAD = ("terrible", "boring", "awful", "dull", "poor", "horrible", "predictable", "stupid", "worst", "annoying")
GOOD_SENTENCES = (
    "The {subject} was {word} and {word}.",
    "I loved every minute of this {subject}!",
    "{person} was {word}, one of the best I have seen.",
    "What a {word} {subject}, I highly recommend it.",
    "It is a {word} {subject} with a great heart.",
    "We laughed, we cried, and the {subject} stayed with us.",
    "Definitely worth watching again, a {word} {subject}.",
    "{person} gives a {word} performance.",
)
BAD_SENTENCES = (
    "The {subject} was {word} and {word}.",
    "I hated every minute of this {subject}!",
    "{person} was {word}, one of the worst I have seen.",
    "What a {word} {subject}, avoid it.",
    "It is a {word} {subject} without any point, a waste of time.",
    "We yawned, we waited, and the {subject} never woke up.",
    "Don't bother, it is a {word} {subject}.",
    "{person} gives a {word} performance.",
)
NEUTRAL_SENTENCES = (
    "I saw it on a Tuesday with two friends.",
    "It runs for about two hours.",
    "The {subject} is set in a small town by the sea.",
    "Somebody at work told me about the {subject}.",
    "There is a scene on a train that I still remember.",
)
LONGEST_REVIEW = 40  # sentences


def write_review(rng: np.random.Generator, *, positive: bool) -> str:
    """One review of 1 to 40 sentences; short ones are more frequent than long ones."""
    count = int(np.exp(rng.uniform(0, np.log(LONGEST_REVIEW + 1))))
    return " ".join(write_sentence(rng, positive=positive) for _ in range(max(1, count)))


def write_sentence(rng: np.random.Generator, *, positive: bool) -> str:
    """One sentence that takes a side or, one time in six, is neutral."""
    templates = NEUTRAL_SENTENCES if rng.random() < 1 / 6 else GOOD_SENTENCES if positive else BAD_SENTENCES
    pieces = _pick(rng, templates).split("{word}")
    words = [_pick(rng, GOOD if positive else BAD) for _ in pieces[1:]]
    text = pieces[0] + "".join(word + piece for word, piece in zip(words, pieces[1:], strict=True))
    text = text.replace("{subject}", _pick(rng, SUBJECTS)).replace("{person}", _pick(rng, PEOPLE))
    return text[0].upper() + text[1:]


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
