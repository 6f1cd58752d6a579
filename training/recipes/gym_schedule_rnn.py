"""A recurrent network predicts today's exercise from the days before, also after missed days.

Command: python -m training run gym-schedule-rnn --publish
Result: 1.0000 on 2,000 test diaries, also after 1 to 7 missed days; feed-forward 1.0 and then 0.32 to 0.37; 15 s
Date and hardware: 2026-11-21, two cores of an AMD EPYC

The course's example: shoulder, biceps and cardio take turns, one a day. After missed days, the right exercise is the
one that the schedule has for today, not the one after the last exercise. A feed-forward network that gets only
yesterday's exercise knows the answer if yesterday was not missed, and nothing otherwise. A recurrent network reads all
the days before, one after the other, and counts in its state.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.tokenizer import Tokenizer
from training.bounds import Bounded, Count, Seed, ShareBelowOne
from training.data.pipelines import TextPipeline
from training.datasets.splits import Examples, Splits
from training.measure.drawing import lines
from training.measure.evaluate import predict
from training.measure.findings import Findings, above, below, equal
from training.recipe.fitting import Fitting, Optimizer, Schedule
from training.recipe.recipe import OUTPUT_NAME, Recipe, Signature, Subject, Targets

EXERCISES = ("shoulder", "biceps", "cardio")
MISSED = "missed"


@dataclass(frozen=True, kw_only=True)
class GymSchedule(Bounded):
    """Days as words, oldest first, and the exercise of the next day; a fresh random diary for each row.

    Attributes:
        rows: of the train part; validation and test have a quarter each.
        longest: most days of a diary.
        missed_share: share of missed days before the last stretch.
        longest_gap: most consecutive days missed just before today; at least one earlier day is not missed.
        seed: of the diaries.
    """

    rows: Count = 8000
    longest: Count = 28
    missed_share: ShareBelowOne = 0.2
    longest_gap: Count = 7
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.longest <= self.longest_gap:
            raise ValueError(f"data.longest {self.longest} leaves no day before {self.longest_gap} missed ones")

    def load(self) -> Splits:
        """Write the diaries; see ``DataSource.load``."""
        return Splits(
            name="gym diaries",
            form="computed",
            files={},
            labels=EXERCISES,
            train=self.diaries(self.rows, self.seed),
            validation=self.diaries(self.rows // 4, self.seed + 1),
            read_test=lambda: self.diaries(self.rows // 4, self.seed + 2),
        )

    def synthetic(self) -> Splits:
        """The same diaries: they are always computed."""
        return self.load()

    def diaries(self, count: int, seed: int, *, gap: int | None = None) -> Examples:
        """``count`` diaries; ``gap`` fixes the number of days missed at the end."""
        rng = np.random.default_rng([seed, self.seed])
        texts, labels = [], []
        for _ in range(count):
            missed = int(rng.integers(self.longest_gap + 1)) if gap is None else gap
            attended = int(rng.integers(1, self.longest - missed + 1))
            first = int(rng.integers(len(EXERCISES)))
            days = [EXERCISES[(first + day) % len(EXERCISES)] for day in range(attended)]
            days[:-1] = [MISSED if rng.random() < self.missed_share else day for day in days[:-1]]
            texts.append(" ".join([*days, *[MISSED] * missed]))
            labels.append((first + attended + missed) % len(EXERCISES))
        return Examples(instances=tuple(texts), labels=np.array(labels, np.int32))


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network.

    Attributes:
        embedding: numbers per day.
        units: of the LSTM.
    """

    embedding: Count = 4
    units: Count = 16


def build(network: Network, signature: Signature) -> Any:
    """Embedding that masks padding, LSTM, softmax."""
    import tf_keras
    from tf_keras import layers

    token_ids = layers.Input((None,), dtype=signature.input.dtype, name=signature.input.name)
    x = layers.Embedding(signature.id_count, network.embedding, mask_zero=True)(token_ids)
    x = layers.LSTM(network.units)(x)
    return tf_keras.Model(token_ids, layers.Dense(signature.classes, activation="softmax", name=OUTPUT_NAME)(x))


@dataclass(frozen=True, kw_only=True)
class CompareWithFeedForward(Bounded):
    """Trains a feed-forward network on yesterday only, and compares both for each number of missed days.

    Attributes:
        rows: diaries for each number of missed days.
        units: of the feed-forward network's hidden layer.
        epochs: it is trained for.
    """

    rows: Count = 500
    units: Count = 16
    epochs: Count = 20

    def __call__(self, subject: Subject) -> Findings:
        """Share of right answers of both networks, after 0, 1, ... missed days."""
        schedule, tokenizer = subject.recipe.data, subject.feed.tokenizer
        assert isinstance(schedule, GymSchedule)
        assert tokenizer is not None  # the pipeline is for texts
        feed_forward = self._feed_forward(subject.splits.train, tokenizer)
        gaps = range(schedule.longest_gap + 1)
        recurrent, yesterday = [], []
        for gap in gaps:
            diaries = schedule.diaries(self.rows, 100 + gap, gap=gap)
            answers = predict(subject.model, subject.feed, diaries, batch_size=self.rows)
            recurrent.append(_share_right(answers, diaries))
            yesterday.append(_share_right(feed_forward(_last_day(diaries, tokenizer)).numpy(), diaries))
        picture = lines(
            {"recurrent: all days before": (gaps, recurrent), "feed-forward: yesterday": (gaps, yesterday)},
            subject.directory / "missed-days.png",
            x="days missed before today",
            y="share of right answers",
        )
        return Findings(
            figures=(
                *(above(f"recurrent, {gap} missed", recurrent[gap], 0.99, of="nearly all") for gap in gaps),
                equal("feed-forward, 0 missed", yesterday[0], 1.0),
                *(below(f"feed-forward, {gap} missed", yesterday[gap], LUCK, of="luck") for gap in gaps[1:]),
            ),
            pictures={"Right answers after missed days": picture},
        )

    def _feed_forward(self, train: Examples, tokenizer: Tokenizer) -> Any:
        """A network whose only input is yesterday's exercise, trained on the same diaries."""
        import tf_keras
        from tf_keras import layers

        tf_keras.utils.set_random_seed(0)
        model = tf_keras.Sequential(
            [
                layers.Embedding(tokenizer.id_count, 4),
                layers.Dense(self.units, activation="relu"),
                layers.Dense(len(EXERCISES), activation="softmax"),
            ]
        )
        model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
        model.fit(_last_day(train, tokenizer), train.labels, batch_size=64, epochs=self.epochs, verbose=0)
        return model


LUCK = 0.45
"""A guess among three is right one time in three; of 500 guesses, this share is five standard errors above that."""


def _last_day(diaries: Examples, tokenizer: Tokenizer) -> npt.NDArray[np.int32]:
    return np.array([tokenizer.encode(text)[-1] for text in diaries.instances], np.int32)


def _share_right(answers: npt.NDArray[Any], diaries: Examples) -> float:
    return float((answers.argmax(axis=1) == diaries.labels).mean())


RECIPE = Recipe(
    name="gym-schedule-rnn",
    description="Today's exercise from the days before, missed ones among them, by an LSTM.",
    license="apache-2.0",
    data=GymSchedule(),
    pipeline=TextPipeline(vocabulary_size=len(EXERCISES) + 3, max_length=28, bucket=7),
    network=Network(),
    build=build,
    study=CompareWithFeedForward(),
    optimizer=Optimizer(name="adam", learning_rate=0.01, schedule=Schedule(name="cosine", warmup=0.05), clip_norm=1.0),
    fitting=Fitting(epochs=8, batch_size=64, monitor="val_loss"),
    targets=Targets(test_accuracy=0.99, parameters=2_000),
)
