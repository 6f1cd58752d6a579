"""A self-organising map: 10x10 units, each with a colour, order themselves so that neighbours have similar colours.

    winner: the unit whose weights are nearest to x
    w += rate exp(-d² / 2 radius²) (x - w)    d: distance on the grid from the winner; rate and radius fall

The neighbours of the winner learn too; that alone makes the map. With a radius near 0 only the winner learns, and the
units fit the colours better, but neighbours have nothing in common.

Command: python -m training run self-organising-map
Result: two nearest units of a new colour apart for 0.024 of the colours, 0.946 without neighbours; distance of a new
    colour from its unit 0.152, 0.115 without neighbours; 8 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC
Source: Kohonen, Self-organized formation of topologically correct feature maps (1982).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.bounds import AboveZero, Bounded, Count, Seed
from training.measure import drawing
from training.measure.findings import Findings, above, below, recorded
from training.network.activations import Array
from training.recipe.lesson import Lesson, LessonContext

EDGE = 10
PLACES = np.array(list(np.ndindex(EDGE, EDGE)), float)
"""Row and column of each unit, shape (100, 2)."""
ALONE = 0.1
"""A radius at which the neighbours of the winner learn nothing: exp(-50)."""


@dataclass(frozen=True, kw_only=True)
class Organise(Bounded):
    """Settings.

    Attributes:
        colours: number of random colours to learn from, and of others that are held out.
        steps: one colour each.
        rate, radius: at the start; they fall exponentially, to a hundredth and to 1/2.
        seed: of the colours, their order and the weights at the start.
    """

    colours: Count = 500
    steps: Count = 5000
    rate: AboveZero = 0.5
    radius: AboveZero = 5.0
    seed: Seed = 0

    def __call__(self, context: LessonContext) -> Findings:
        """Train the map, and one without neighbours; measure both on held-out colours."""
        rng = np.random.default_rng(self.seed)
        known, new = rng.random((2, self.colours, 3))
        start = rng.random((len(PLACES), 3))
        chosen = known[rng.integers(len(known), size=self.steps)]
        radii = np.geomspace(self.radius, 0.5, self.steps)
        rates = np.geomspace(self.rate, self.rate / 100, self.steps)
        ordered = organise(start, chosen, rates, radii)
        alone = organise(start, chosen, rates, np.full(self.steps, ALONE))
        maps = {"at the start": start, "organised": ordered, "without neighbours": alone}
        errors = {name: (quantisation_error(units, new), topographic_error(units, new)) for name, units in maps.items()}
        apart = {name: neighbour_distance(units) for name, units in maps.items()}
        to_the_mean = quantisation_error(known.mean(axis=0, keepdims=True), new)
        return Findings(
            figures=(
                recorded("distance of a new colour from the mean colour", to_the_mean),
                *(recorded(f"{name}: distance of a new colour from its unit", errors[name][0]) for name in maps),
                *(recorded(f"{name}: new colours whose two nearest units are apart", errors[name][1]) for name in maps),
                *(recorded(f"{name}: distance of neighbours' colours", apart[name]) for name in maps),
                above("organised, distance", errors["organised"][0], errors["without neighbours"][0], of="alone"),
                below(
                    "organised, distance of a new colour", errors["organised"][0], to_the_mean / 2, of="half of a mean"
                ),
                below(
                    "organised, apart",
                    errors["organised"][1],
                    0.5 * errors["without neighbours"][1],
                    of="half of alone",
                ),
                below(
                    "organised, neighbours", apart["organised"], 0.5 * apart["without neighbours"], of="half of alone"
                ),
            ),
            pictures={"The map": _draw(maps, context.directory / "map.png")},
            notes=(
                "Order has its price: colours have three dimensions and the map has two, so units without neighbours "
                "fit the colours better.",
                "Nothing says what a colour is called: the map finds what is similar without labels.",
            ),
        )


def organise(units: Array, chosen: Array, rates: Array, radii: Array) -> Array:
    """Kohonen's rule, one step for each row of ``chosen``.

    Args:
        units: weights at the start, shape (units, width).
        chosen: inputs in their order, shape (steps, width).
        rates, radii: of each step, shape (steps,).

    Returns:
        The weights at the end.
    """
    units = units.copy()
    squared = ((PLACES[:, None] - PLACES[None]) ** 2).sum(axis=-1)
    for x, rate, radius in zip(chosen, rates, radii, strict=True):
        winner = ((units - x) ** 2).sum(axis=1).argmin()
        units += rate * np.exp(-squared[winner] / (2 * radius**2))[:, None] * (x - units)
    return units


def distances(units: Array, colours: Array) -> Array:
    """Of each colour from each unit, shape (colours, units)."""
    return np.asarray(np.linalg.norm(colours[:, None] - units[None], axis=-1))


def quantisation_error(units: Array, colours: Array) -> float:
    """Mean distance of a colour from its nearest unit."""
    return float(distances(units, colours).min(axis=1).mean())


def topographic_error(units: Array, colours: Array) -> float:
    """Share of the colours whose nearest and second nearest unit are not neighbours, also not diagonally.

    Source: Kiviluoto, Topology preservation in self-organizing maps (1996).
    """
    first, second = np.argsort(distances(units, colours), axis=1)[:, :2].T
    return float((np.abs(PLACES[first] - PLACES[second]).max(axis=1) > 1).mean())


def neighbour_distance(units: Array) -> float:
    """Mean distance of the weights of units that are next to each other in a row or a column."""
    grid = units.reshape(EDGE, EDGE, -1)
    across, down = np.diff(grid, axis=1).reshape(-1, 3), np.diff(grid, axis=0).reshape(-1, 3)
    return float(np.linalg.norm(np.concatenate([across, down]), axis=1).mean())


def _draw(maps: dict[str, Array], path: Path) -> Path:
    figure = drawing.figure(width=9.6, height=3.6)
    for axes, (name, units) in zip(figure.subplots(1, len(maps)), maps.items(), strict=True):
        axes.imshow(np.clip(units, 0, 1).reshape(EDGE, EDGE, 3))
        axes.set_title(name)
        axes.axis("off")
    return drawing.save(figure, path)


RECIPE = Lesson(
    name="self-organising-map",
    description="Units on a grid order colours without labels: neighbours become similar, because they learn together.",
    study=Organise(),
)
