"""A radial basis network: each hidden unit answers near its centre, and the output adds the answers.

    φ_i(x) = exp(-|x - c_i|² / 2 s²)    y = Σ w_i φ_i(x) + b

With centres at (0, 0) and (1, 1), two units make XOR a task that a line separates; the three weights are found by hand.
For a noisy sine, centres are found by k-means and weights by least squares: there is no descent.

Command: python -m training run radial-basis-network
Result: XOR exact with weights -2.5026503 and bias 2.84134719; sine: error on new points 0.0949 with 12 units, 0.1668
    with 50; 7 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
Source: Broomhead & Lowe, Multivariable Functional Interpolation and Adaptive Networks (1988).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.bounds import AboveZero, Bounded, Count, Seed, ZeroOrMore
from training.measure import drawing
from training.measure.findings import Findings, above, below, close, equal, recorded
from training.network.activations import Array
from training.recipe.lesson import Lesson, LessonContext

ROWS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0.0, 1.0, 1.0, 0.0])
XOR_CENTRES = ROWS[[0, 3]]
XOR_WIDTH = 0.5**0.5
"""With it φ = exp(-|x - c|²)."""
ROUNDING = 1e-12
FAR = 100.0


@dataclass(frozen=True, kw_only=True)
class Network:
    """Attributes: centres: (units, width); width: s of all units; weights: (units,); bias: b."""

    centres: Array
    width: float
    weights: Array
    bias: float

    def answers(self, rows: Array) -> Array:
        """y of each row, shape (rows,)."""
        return np.asarray(features(rows, self.centres, self.width) @ self.weights + self.bias)


def features(rows: Array, centres: Array, width: float) -> Array:
    """φ of each unit for each row, shape (rows, units)."""
    squared = ((rows[:, None] - centres[None]) ** 2).sum(axis=-1)
    return np.asarray(np.exp(-squared / (2 * width**2)))


def fit(rows: Array, targets: Array, centres: Array, *, width: float, ridge: float) -> Network:
    """The weights and bias with the smallest squared error plus ``ridge`` times the squared weights."""
    known = np.column_stack([features(rows, centres, width), np.ones(len(rows))])
    penalty = ridge * np.diag([*np.ones(len(centres)), 0.0])
    solved: Array = np.linalg.lstsq(known.T @ known + penalty, known.T @ targets, rcond=None)[0].astype(float)
    return Network(centres=centres, width=width, weights=solved[:-1], bias=float(solved[-1]))


def place_centres(rows: Array, count: int, *, seed: int, rounds: int = 20) -> Array:
    """k-means: each centre moves to the mean of the rows that are nearest to it, shape (count, width).

    Source: Lloyd, Least squares quantization in PCM (1982).
    """
    centres = np.random.default_rng(seed).choice(rows, count, replace=False)
    for _ in range(rounds):
        nearest = ((rows[:, None] - centres[None]) ** 2).sum(axis=-1).argmin(axis=1)
        centres = np.stack(
            [rows[nearest == unit].mean(axis=0) if (nearest == unit).any() else centres[unit] for unit in range(count)]
        )
    return centres


@dataclass(frozen=True, kw_only=True)
class Interpolate(Bounded):
    """Settings.

    Attributes:
        points: of the sine, in the training part.
        noise: standard deviation of what is added to it.
        width: of the units for the sine.
        ridge: weight of the squared weights.
        counts: numbers of units that are compared; each at most ``points``.
        seed: of the points, the noise and the first centres.
    """

    points: Count = 60
    noise: ZeroOrMore = 0.2
    width: AboveZero = 0.4
    ridge: ZeroOrMore = 1e-9
    counts: tuple[Count, ...] = (1, 2, 3, 4, 6, 8, 12, 20, 30, 40, 50)
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.counts or max(self.counts) > self.points:
            raise ValueError(f"counts must name at least one number, and none above the {self.points} points")

    def __call__(self, context: LessonContext) -> Findings:
        """XOR by hand and by least squares; the sine with more and more units."""
        by_hand = xor_by_hand()
        fitted = fit(ROWS, XOR, XOR_CENTRES, width=XOR_WIDTH, ridge=0.0)
        apart = np.abs(np.array([*fitted.weights, fitted.bias]) - np.array([*by_hand.weights, by_hand.bias])).max()
        rng = np.random.default_rng(self.seed)
        x = np.sort(rng.uniform(-np.pi, np.pi, (self.points, 1)), axis=0)
        y = np.sin(x[:, 0]) + rng.normal(0, self.noise, self.points)
        networks = {
            count: fit(x, y, place_centres(x, count, seed=self.seed), width=self.width, ridge=self.ridge)
            for count in self.counts
        }
        new = np.linspace(-np.pi, np.pi, 201)[:, None]
        known_errors, new_errors = (
            {count: rmse(network.answers(rows) - wanted) for count, network in networks.items()}
            for rows, wanted in ((x, y), (new, np.sin(new[:, 0])))
        )
        best = min(new_errors, key=new_errors.__getitem__)
        most, fewest = max(self.counts), min(self.counts)
        far = networks[best].answers(np.array([[FAR]]))[0]
        return Findings(
            figures=(
                *(close(f"XOR by hand, {a:g} {b:g}", y, t, within=ROUNDING) for (a, b), y, t in _rows(by_hand)),
                recorded("XOR, weight of both units", float(by_hand.weights[0])),
                recorded("XOR, bias", by_hand.bias),
                below("XOR, weights by least squares", float(apart), 1e-9, of="from those by hand"),
                recorded("sine, units with the smallest error on new points", best),
                recorded("sine, that error", new_errors[best]),
                above(f"sine, error with {fewest} units", new_errors[fewest], new_errors[best], of="the smallest"),
                above(f"sine, error with {most} units", new_errors[most], new_errors[best], of="the smallest"),
                below(
                    f"sine, error with {most} units, known points",
                    known_errors[most],
                    known_errors[best],
                    of="the best",
                ),
                equal(f"sine, answer at {FAR:g} is the bias", bool(far == networks[best].bias), True),
            ),
            pictures={
                "Noisy sine": _draw(networks, best, x, y, context.directory / "sine.png"),
                "Errors": drawing.lines(
                    {
                        "known points": (self.counts, [known_errors[count] for count in self.counts]),
                        "new points, without noise": (self.counts, [new_errors[count] for count in self.counts]),
                    },
                    context.directory / "errors.png",
                    x="units",
                    y="root mean squared error",
                ),
            },
            notes=("Far from all centres every unit answers 0: the network says the bias, and cannot extrapolate.",),
        )


def xor_by_hand() -> Network:
    """Both weights are equal by symmetry, so that two equations remain.

    (0, 0) and (1, 1): w (1 + e⁻²) + b = 0    (0, 1) and (1, 0): w 2 e⁻¹ + b = 1
    """
    weight = -1 / (1 + np.exp(-2) - 2 * np.exp(-1))
    bias = -weight * (1 + np.exp(-2))
    return Network(centres=XOR_CENTRES, width=XOR_WIDTH, weights=np.array([weight, weight]), bias=float(bias))


def rmse(errors: Array) -> float:
    """The root of the mean square."""
    return float(np.sqrt((errors**2).mean()))


def _rows(network: Network) -> list[tuple[tuple[float, float], float, float]]:
    """(row, answer, target) for each row of XOR."""
    return list(zip(ROWS.tolist(), network.answers(ROWS).tolist(), XOR.tolist(), strict=True))


def _draw(networks: dict[int, Network], best: int, x: Array, y: Array, path: Path) -> Path:
    """The points, and the networks with the fewest, the best number and the most units, also outside the points."""
    across = np.linspace(-6, 6, 601)[:, None]
    figure = drawing.figure()
    axes = figure.subplots()
    axes.plot(x[:, 0], y, ".", color="black", label="known points")
    for count in dict.fromkeys((min(networks), best, max(networks))):
        axes.plot(across[:, 0], networks[count].answers(across), label=f"{count} units")
    axes.set(xlabel="x", ylabel="y", ylim=(-2.5, 2.5))
    axes.grid(alpha=0.3)
    axes.legend()
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="radial-basis-network",
    description="Units that answer near their centre: XOR by hand, and a noisy sine by k-means and least squares.",
    study=Interpolate(),
)
