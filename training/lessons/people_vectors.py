"""Age, postcode and income of people as vectors: raw, normalised, one-hot, and with an embedding of the region.

Command: python -m training run people-vectors
Result: error of a rent 179.2 with the postcode as a number, 40.0 one-hot, 41.6 with an embedding; noise 40; 9 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC

The people and their rents are made up. The rent depends on age and income, and on the region, the first digit of the
postcode, without any order among regions. Each kind of vector is measured by what a linear map, and the nearest known
people, say of the rents of new people.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.bounds import Bounded, Count, Seed
from training.measure import drawing
from training.measure.findings import Findings, above, below, close, equal, recorded
from training.network.activations import Array
from training.recipe.lesson import Lesson, LessonContext

COLUMNS = ("age", "postcode", "income")
REGIONS = 10
NEIGHBOURS = 15
NOISE = 40.0
"""Standard deviation of a rent around what age, income and region say."""
AGE, INCOME = 2.0, 0.006
"""Rent for each year, and for each unit of a year's income."""


@dataclass(frozen=True, kw_only=True)
class People:
    """People and their rents.

    Attributes:
        numbers: float64 (rows, 3), as in ``COLUMNS``.
        rents: float64 (rows,), a month.
    """

    numbers: Array
    rents: Array

    @property
    def regions(self) -> Any:
        """The first digits of the postcodes, int64 (rows,)."""
        return self.numbers[:, 1].astype(np.int64) // 10_000


def region_rents(seed: int) -> Array:
    """What each region adds to a rent, (10,): steps of 60, in an order that is not that of the digits."""
    return np.random.default_rng([seed, 0]).permutation(np.arange(REGIONS, dtype=np.float64)) * 60


def invent(rows: int, *, seed: int, part: int) -> People:
    """Invent people; equal seeds have equal regions."""
    rng = np.random.default_rng([seed, 1, part])
    age, income = rng.uniform(18, 80, rows), rng.lognormal(10.6, 0.4, rows)
    postcode = rng.integers(REGIONS * 10_000, size=rows)
    rents = AGE * age + INCOME * income + region_rents(seed)[postcode // 10_000] + rng.normal(0, NOISE, rows)
    return People(numbers=np.stack([age, postcode, income], axis=1).astype(np.float64), rents=rents)


def normalised(people: People, known: People, columns: tuple[int, ...] = (0, 1, 2)) -> Array:
    """Columns with the mean 0 and the deviation 1 of the known people, (rows, columns)."""
    chosen = list(columns)
    numbers = known.numbers[:, chosen]
    return np.asarray((people.numbers[:, chosen] - numbers.mean(axis=0)) / numbers.std(axis=0))


def one_hot(regions: Any) -> Array:
    """(rows, 10): 1 in the column of the region, 0 in the others."""
    return np.asarray(np.eye(REGIONS)[regions])


def shares_of_distance(vectors: Array) -> Array:
    """Which share of the mean squared distance of two people each column makes, (columns,).

    The mean squared difference of two independent draws is twice their variance.
    """
    variances = vectors.var(axis=0)
    return np.asarray(variances / variances.sum())


def linear_error(known: Array, rents: Array, new: Array, truth: Array) -> float:
    """Root mean squared error of the linear map with the smallest squared error on known people."""
    weights, *_ = np.linalg.lstsq(_with_one(known), rents, rcond=None)
    return _error(_with_one(new) @ weights, truth)


def neighbour_error(known: Array, rents: Array, new: Array, truth: Array) -> float:
    """Root mean squared error of the mean rent of the 15 nearest known people."""
    distances = (known**2).sum(axis=1) - 2 * new @ known.T  # without the length of the new vector: the order is equal
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
    return _error(rents[nearest].mean(axis=1), truth)


def condition(vectors: Array) -> float:
    """How much steeper the squared error of a linear map is in one direction than in another."""
    values = np.linalg.eigvalsh(_with_one(vectors).T @ _with_one(vectors))
    return float(values[-1] / values[0])


def _with_one(vectors: Array) -> Array:
    return np.hstack([vectors, np.ones((len(vectors), 1))])


def _error(answers: Array, truth: Array) -> float:
    return float(np.sqrt(((answers - truth) ** 2).mean()))


@dataclass(frozen=True, kw_only=True)
class Vectors(Bounded):
    """Settings.

    Attributes:
        known, new: people to learn from, and to measure with.
        epochs: of the network with the embedding.
        seed: of the people and of the network.
    """

    known: Count = 1000
    new: Count = 1000
    epochs: Count = 60
    seed: Seed = 0

    def __call__(self, context: LessonContext) -> Findings:
        """Distances, errors and the embedding."""
        known, new = (invent(rows, seed=self.seed, part=part) for part, rows in enumerate((self.known, self.new)))
        both = (0, 2)
        vectors = {
            "raw numbers": (known.numbers, new.numbers),
            "normalised numbers": (normalised(known, known), normalised(new, known)),
            "normalised, one-hot region": tuple(
                np.hstack([normalised(people, known, both), one_hot(people.regions)]) for people in (known, new)
            ),
        }
        linear, near = (
            {name: measure(one, known.rents, other, new.rents) for name, (one, other) in vectors.items()}
            for measure in (linear_error, neighbour_error)
        )
        raw, numbers, hot = vectors
        embedded, table = self._embedding(known, new, both)
        parts = {name: shares_of_distance(vectors[name][0]) for name in (raw, numbers)}
        regions = one_hot(np.arange(REGIONS))
        apart = np.linalg.norm(regions[:, None] - regions, axis=2)[~np.eye(REGIONS, dtype=bool)]
        agreement = abs(float(np.corrcoef(table, region_rents(self.seed))[0, 1]))
        return Findings(
            figures=(
                *(recorded(f"share of {c} in a raw distance", float(parts[raw][i])) for i, c in enumerate(COLUMNS)),
                close("share of age in a normalised distance", float(parts[numbers][0]), 1 / 3, within=1e-9),
                recorded("condition of raw numbers", condition(known.numbers)),
                recorded("condition of normalised numbers", condition(vectors[numbers][0])),
                equal("distances of two regions, one-hot", len(set(apart.round(12))), 1),
                *(recorded(f"linear error, {name}", value) for name, value in linear.items()),
                close("normalising changes the linear error by", linear[raw] - linear[numbers], 0, within=1e-6),
                below("one-hot, linear error", linear[hot], linear[numbers] / 2, of="half of that with a number"),
                *(recorded(f"error of 15 neighbours, {name}", value) for name, value in near.items()),
                below("one-hot, error of neighbours", near[hot], near[raw], of="raw numbers"),
                below("error of the network with an embedding", embedded, linear[numbers] / 2, of="half, as above"),
                above("agreement of the embedding with the regions' rents", agreement, 0.98, of="a line"),
                recorded("noise of a rent, which nothing can foresee", NOISE),
            ),
            pictures={"What the embedding learned": _draw(table, region_rents(self.seed), context.directory)},
            notes=(
                "A postcode as a number says that region 9 is nine times region 1; one-hot says only that they differ.",
                "An embedding is the product of a one-hot vector and a matrix, which is learned.",
            ),
        )

    def _embedding(self, known: People, new: People, both: tuple[int, ...]) -> tuple[float, Array]:
        """The error of a network that has one learned number for each region, and these numbers, (10,)."""
        import tf_keras
        from tf_keras import layers

        tf_keras.utils.set_random_seed(self.seed)
        numbers, region = layers.Input((len(both),)), layers.Input((), dtype="int32")
        embedding = layers.Embedding(REGIONS, 1, name="regions")
        joined = layers.Concatenate()([numbers, embedding(region)])
        model = tf_keras.Model([numbers, region], layers.Dense(1)(joined))
        model.compile(optimizer=tf_keras.optimizers.Adam(0.05), loss="mse")
        scale = known.rents.std()
        rows = [[normalised(people, known, both), people.regions] for people in (known, new)]
        standard = (known.rents - known.rents.mean()) / scale
        model.fit(rows[0], standard, batch_size=50, epochs=self.epochs, verbose=0)
        answers = model.predict(rows[1], batch_size=1000, verbose=0)[:, 0] * scale + known.rents.mean()
        return _error(answers, new.rents), np.asarray(embedding.get_weights()[0][:, 0], np.float64)


def _draw(table: Array, rents: Array, directory: Path) -> Path:
    """The learned number of each region against what the region adds to a rent."""
    figure = drawing.figure()
    axes = figure.subplots()
    axes.plot(rents, table, "o")
    for region, (rent, value) in enumerate(zip(rents, table, strict=True)):
        axes.annotate(f" {region}", (rent, value))
    axes.set(xlabel="what the region adds to a rent", ylabel="its learned number")
    axes.grid(alpha=0.3)
    return drawing.save(figure, directory / "regions.png")


RECIPE = Lesson(
    name="people-vectors",
    description="Age, postcode and income as vectors: normalised numbers, one-hot regions, and an embedding.",
    study=Vectors(),
)
