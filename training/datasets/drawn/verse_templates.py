"""Speeches in the style of a play, written for golden samples, tests and ``--dataset synthetic``."""

import numpy as np

SPEAKERS = ("KING", "QUEEN", "FIRST SERVANT", "SECOND LORD", "DUKE", "NURSE", "CAPTAIN", "MESSENGER")
OPENINGS = ("Good my lord", "Now, sir", "Come", "Alas", "Hear me", "My noble friend", "Be not afraid", "What news")
SUBJECTS = (
    "the king",
    "my brother",
    "this night",
    "your father",
    "the people",
    "a true heart",
    "the crown",
    "our love",
)
VERBS = ("shall come", "hath spoken", "will not stay", "is gone", "must be known", "doth fear", "was here", "may stand")
PLACES = ("to the court", "in the field", "with my sword", "for the day", "by the sea", "from the house", "at the gate")
MARKS = (",", ";", ".", "!", "?", ":")


def write_speeches(count: int, *, seed: int) -> list[str]:
    """``count`` speeches: a speaker's line, then one to five verses."""
    rng = np.random.default_rng([seed, 7])
    return [_speech(rng) for _ in range(count)]


def _speech(rng: np.random.Generator) -> str:
    verses = [_verse(rng) for _ in range(int(rng.integers(1, 6)))]
    return "\n".join([f"{rng.choice(SPEAKERS)}:", *verses])


def _verse(rng: np.random.Generator) -> str:
    words = [str(rng.choice(part)) for part in (SUBJECTS, VERBS, PLACES)]
    if rng.random() < 1 / 3:
        words = [f"{rng.choice(OPENINGS)},", *words]
    text = " ".join(words) + str(rng.choice(MARKS))
    return text[0].upper() + text[1:]
