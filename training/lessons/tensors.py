"""Tensors of zero to five axes, and what is done with them: broadcasting, dot products, reshaping.

A table of people with age, postcode and income is a tensor of two axes; one person, a vector with three entries, is a
tensor of one axis. Everything is computed by loops over single numbers, and compared with NumPy and TensorFlow.

Command: python -m training run tensors
Result: six shapes of () to (2, 4, 8, 8, 3); sums and dot products by loops equal those of TensorFlow; 8 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from training.bounds import Bounded, Seed
from training.measure.findings import Finding, Findings, below, equal
from training.network.activations import Array
from training.recipe.lesson import Lesson, LessonContext

COLUMNS = ("age", "postcode", "income")
PEOPLE = np.array([[34, 10115, 41_000], [58, 80331, 67_500], [25, 20095, 29_000], [41, 50667, 52_500]], np.float64)
"""A row for each person, invented."""
SHAPES: Mapping[str, tuple[int, ...]] = {
    "a number": (),
    "a person": (3,),
    "a table: people, columns": (4, 3),
    "time series: stocks, minutes, prices": (5, 6, 3),
    "pictures: pictures, height, width, colours": (4, 8, 8, 3),
    "films: films, frames, height, width, colours": (2, 4, 8, 8, 3),
}
ROUNDING = 1e-12
"""The numbers are about 1 and the sums short: float64 errs by about 1e-16."""


@dataclass(frozen=True, kw_only=True)
class Tensors(Bounded):
    """Settings; attributes: seed: of the random values in the tensors."""

    seed: Seed = 0

    def __call__(self, context: LessonContext) -> Findings:
        """Make, broadcast, multiply and reshape; compare with TensorFlow."""
        rng = np.random.default_rng(self.seed)
        tensors = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
        shapes = (_made(axes, name, tensors[name]) for axes, name in enumerate(SHAPES))
        return Findings(
            figures=(*(figure for made in shapes for figure in made), *_people(), *_operations(rng), *_reshaped()),
            notes=(
                "A vector with three entries has one axis; a tensor of three axes is another thing.",
                "A postcode is a name written in digits: means and distances of postcodes have no meaning, so a "
                "network should read it as a category.",
                "Reshaping keeps the order of the numbers in memory; transposing changes it.",
            ),
        )


def broadcast(left: Array, right: Array) -> tuple[int, ...]:
    """The shape of ``left + right``: shapes are aligned at the right, and an axis of size 1 is repeated.

    Raises:
        ValueError: two aligned sizes differ and neither is 1; names both shapes.

    Source: NumPy's user guide, General broadcasting rules.
    """
    axes = max(left.ndim, right.ndim)
    pairs = zip(*((1,) * (axes - tensor.ndim) + tensor.shape for tensor in (left, right)), strict=True)
    sizes = []
    for one, other in pairs:
        if one != other and 1 not in (one, other):
            raise ValueError(f"shapes {left.shape} and {right.shape} do not broadcast: {one} and {other} differ")
        sizes.append(other if one == 1 else one)
    return tuple(sizes)


def add(left: Array, right: Array) -> Array:
    """``left + right`` with broadcasting, number by number."""
    total = np.empty(broadcast(left, right))
    for place in product(*map(range, total.shape)):
        total[place] = left[_own(place, left)] + right[_own(place, right)]
    return total


def dot(left: Array, right: Array) -> Array:
    """The product of a matrix (rows, inner) and a matrix (inner, columns), number by number: (rows, columns).

    Raises:
        ValueError: the inner sizes differ.
    """
    (rows, inner), (also_inner, columns) = left.shape, right.shape
    if inner != also_inner:
        raise ValueError(f"a product of {left.shape} and {right.shape} needs equal inner sizes")
    result = np.zeros((rows, columns))
    for row, column, k in product(range(rows), range(columns), range(inner)):
        result[row, column] += left[row, k] * right[k, column]
    return result


def _own(place: tuple[int, ...], tensor: Array) -> tuple[int, ...]:
    """Where the number for ``place`` of the sum is in ``tensor``."""
    aligned = place[len(place) - tensor.ndim :]
    return tuple(0 if size == 1 else index for index, size in zip(aligned, tensor.shape, strict=True))


def _made(axes: int, name: str, tensor: Array) -> tuple[Finding, Finding]:
    return (equal(f"{name}: axes", tensor.ndim, axes), equal(f"{name}: shape", str(tensor.shape), str(SHAPES[name])))


def _people() -> tuple[Finding, ...]:
    """A row, a column and a cell of the table; the columns standardised by broadcasting (4, 3) with (3,)."""
    standard = (PEOPLE - PEOPLE.mean(axis=0)) / PEOPLE.std(axis=0)
    return (
        equal("first person", str(PEOPLE[0].astype(int).tolist()), "[34, 10115, 41000]"),
        equal("shape of the column of incomes", str(PEOPLE[:, COLUMNS.index("income")].shape), "(4,)"),
        equal("mean age", float(PEOPLE.mean(axis=0)[COLUMNS.index("age")]), 39.5),
        equal("mean income", float(PEOPLE.mean(axis=0)[COLUMNS.index("income")]), 47_500.0),
        below("standardised, mean of a column", float(np.abs(standard.mean(axis=0)).max()), ROUNDING, of="rounding"),
        below("standardised, deviation", float(np.abs(standard.std(axis=0) - 1).max()), ROUNDING, of="from 1"),
    )


def _operations(rng: np.random.Generator) -> tuple[Finding, ...]:
    """Sums and products by loops against TensorFlow, in float64."""
    import tensorflow as tf

    matrix, row, column = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(4, 1))
    other = rng.normal(size=(3, 5))
    differences = {
        "(4, 3) + (3,)": add(matrix, row) - (tf.constant(matrix) + row).numpy(),
        "(4, 1) + (3,)": add(column, row) - (tf.constant(column) + row).numpy(),
        "(4, 3) · (3, 5)": dot(matrix, other) - tf.matmul(matrix, other).numpy(),
    }
    shapes = zip(differences.items(), ((4, 3), (4, 3), (4, 5)), strict=True)
    return (
        *(equal(f"{name}: shape", str(apart.shape), str(shape)) for (name, apart), shape in shapes),
        *(
            below(name, float(np.abs(apart).max()), ROUNDING, of="from TensorFlow")
            for name, apart in differences.items()
        ),
        equal("(4, 3) + (4,)", _refused(matrix, column[:, 0]), "refused"),
    )


def _refused(left: Array, right: Array) -> str:
    """Whether NumPy refuses ``left + right``, in words."""
    try:
        return f"is {left + right}"
    except ValueError:
        return "refused"


def _reshaped() -> tuple[Finding, ...]:
    six = np.arange(6).reshape(3, 2)
    return (
        equal("0 to 5 as (3, 2)", str(six.tolist()), "[[0, 1], [2, 3], [4, 5]]"),
        equal("reshaped to (2, 3)", str(six.reshape(2, 3).tolist()), "[[0, 1, 2], [3, 4, 5]]"),
        equal("transposed to (2, 3)", str(six.T.tolist()), "[[0, 2, 4], [1, 3, 5]]"),
        equal("a picture of (28, 28) as a vector", str(np.zeros((28, 28)).reshape(-1).shape), "(784,)"),
    )


RECIPE = Lesson(
    name="tensors",
    description="Tensors of zero to five axes: shapes, broadcasting, dot products and reshaping, number by number.",
    study=Tensors(),
)
