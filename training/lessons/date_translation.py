"""Sequence to sequence with attention: "30 november 2026" becomes "2026-11-30", character by character.

    encoder: a state h_s for each character of the date    decoder: a state d_t for each character of the answer
    a_ts = softmax_s(d_t · h_s)    context_t = Σ_s a_ts h_s    next character = softmax(V (d_t, context_t) + c)

The parts are in reverse order, so that the decoder must look at the end first. The same network without the context has
only the last state of the encoder, in which the whole date must fit.

Command: python -m training run date-translation
Result: 1.0000 of 1,000 new dates right with attention, 0.4220 without; 31,655 parameters; it looks for the year at 0.76
    of the date, for the day at 0.04; 63 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
Source: Sutskever, Vinyals & Le, arXiv:1409.3215; Luong, Pham & Manning, arXiv:1508.04025 (dot-product attention).
"""

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.bounds import AboveZero, Bounded, Count, Seed
from training.measure import drawing
from training.measure.findings import Findings, above, below, recorded
from training.recipe.lesson import Lesson, LessonContext

FIRST, DAYS = date(1900, 1, 1), 73_049
"""The dates of 1900 to 2099."""
MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
CHARACTERS = "0123456789- abcdefghijklmnopqrstuvwxyz"
PADDING, START = 0, len(CHARACTERS) + 1
"""Ids; a character's id is its index in ``CHARACTERS`` plus 1."""
LONGEST, ANSWER = 17, 10
YEAR, DAY = slice(0, 4), slice(8, 10)
"""Where they are in the answer."""
Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Translate(Bounded):
    """Settings.

    Attributes:
        rows: dates to learn from; a quarter as many others are held out.
        units: of the decoder; each direction of the encoder has half of them.
        learning_rate, batch_size, epochs: of Adam.
        seed: of the dates, the weights and the order.
    """

    rows: Count = 4000
    units: Count = 64
    learning_rate: AboveZero = 5e-3
    batch_size: Count = 64
    epochs: Count = 12
    seed: Seed = 0

    def __call__(self, context: LessonContext) -> Findings:
        """Train with and without attention; translate the held-out dates; draw where the decoder looks."""
        days = np.random.default_rng(self.seed).permutation(DAYS)[: self.rows + max(1, self.rows // 4)]
        known, new = (written([FIRST + timedelta(int(day)) for day in part]) for part in np.split(days, [self.rows]))
        networks = {attend: self._trained(known, attend=attend, context=context) for attend in (True, False)}
        shares = {attend: share_right(networks[attend], new) for attend in networks}
        answers = translate(networks[True], new[0])
        _, looks = networks[True].predict_on_batch([new[0], shifted(answers)])
        places = (looks * np.arange(LONGEST)).sum(axis=-1) / (new[0] != PADDING).sum(axis=1, keepdims=True)
        year, day = (float(places[:, part].mean()) for part in (YEAR, DAY))
        return Findings(
            figures=(
                above("new dates right, all ten characters", shares[True], 0.95, of="nearly all"),
                recorded("new dates right without attention", shares[False]),
                above("attention, dates right", shares[True], shares[False], of="without attention"),
                recorded("parameters", networks[True].count_params()),
                recorded("where the year is looked for, 0 start, 1 end", year),
                below("where the day is looked for", day, year, of="the year's place"),
            ),
            pictures={
                "Where the decoder looks": _draw(new[0][0], answers[0], looks[0], context.directory / "looks.png")
            },
        )

    def _trained(self, known: tuple[Ids, Ids], *, attend: bool, context: LessonContext) -> Any:
        """A trained network; while it learns, the decoder gets the right characters before each."""
        import tf_keras

        tf_keras.utils.set_random_seed(self.seed)
        network = build(self.units, attend=attend)
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(tf_keras.optimizers.Adam(self.learning_rate), [loss, None])
        dates, answers = known
        for epoch in range(self.epochs):
            history = network.fit([dates, shifted(answers)], answers, self.batch_size, verbose=0).history
            how = "with" if attend else "without"
            context.console.print(f"{how} attention, epoch {epoch + 1}: loss {history['loss'][0]:.4f}", highlight=False)
        return network


def written(days: list[date]) -> tuple[Ids, Ids]:
    """The dates as ids, (dates, 17), padded at the end, and their answers, (dates, 10)."""
    texts = [f"{day.day} {MONTHS[day.month - 1]} {day.year}" for day in days]
    return encoded(texts, LONGEST), encoded([day.isoformat() for day in days], ANSWER)


def encoded(texts: list[str], length: int) -> Ids:
    """A row of ids for each text, (texts, length)."""
    ids = np.full((len(texts), length), PADDING, np.int32)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = [CHARACTERS.index(character) + 1 for character in text]
    return ids


def decoded(ids: Ids) -> str:
    """The text of a row of ids, without padding."""
    return "".join(CHARACTERS[number - 1] for number in ids if number != PADDING)


def shifted(answers: Ids) -> Ids:
    """What the decoder reads: the start, and then the answer but for its last character."""
    return np.column_stack([np.full(len(answers), START, np.int32), answers[:, :-1]])


def build(units: int, *, attend: bool) -> Any:
    """(dates, characters before) -> (scores of the next characters, attention); without it, zeros in its place."""
    import tf_keras
    from tf_keras import layers

    dates = layers.Input((LONGEST,), dtype="int32")
    before = layers.Input((ANSWER,), dtype="int32")
    embedding = layers.Embedding(START + 1, 16, mask_zero=True)
    encoder = layers.Bidirectional(layers.GRU(units // 2, return_sequences=True, return_state=True))
    states, forwards, backwards = encoder(embedding(dates))
    last = layers.Concatenate()([forwards, backwards])
    decoder = layers.GRU(units, return_sequences=True)
    own = decoder(layers.Embedding(START + 1, 16)(before), initial_state=last)
    context, looks = layers.Attention()(
        [own, states], mask=[None, embedding.compute_mask(dates)], return_attention_scores=True
    )
    both = layers.Concatenate()([own, context if attend else layers.Rescaling(0.0)(context)])
    return tf_keras.Model([dates, before], [layers.Dense(START)(both), looks])


def translate(network: Any, dates: Ids) -> Ids:
    """The most probable character, ten times, each after those before it: ids (dates, 10)."""
    answers = np.full((len(dates), ANSWER), PADDING, np.int32)
    for place in range(ANSWER):
        scores, _ = network.predict_on_batch([dates, shifted(answers)])
        answers[:, place] = scores[:, place].argmax(axis=-1)
    return answers


def share_right(network: Any, rows: tuple[Ids, Ids]) -> float:
    """Share of the dates of which every character is right."""
    dates, answers = rows
    return float((translate(network, dates) == answers).all(axis=1).mean())


def _draw(given: Ids, answer: Ids, looks: npt.NDArray[Any], path: Path) -> Path:
    """A line for each character of the answer, a column for each of the date: dark where the decoder looks."""
    text = decoded(given)
    figure = drawing.figure(width=7)
    axes = figure.subplots()
    axes.imshow(looks[:, : len(text)], cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(text)), text.replace(" ", "␣"))
    axes.set_yticks(range(ANSWER), decoded(answer))
    axes.set(xlabel="date", ylabel="answer")
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="date-translation",
    description="Dates in words become dates in digits, in reverse order, by sequence to sequence with attention.",
    study=Translate(),
)
