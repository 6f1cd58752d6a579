"""Outlines of ten garments as polygons on a 28 x 28 grid, drawn for this project; one function per class.

x runs to the right and y down, in pixels of the finished picture. Widths and lengths vary with the generator.
Tones are fractions of the lightest cloth; a part of tone 0 cuts a hole. Poses follow Fashion-MNIST: tops and
dresses fill the height, shoes point left and are in the lower half.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

GRID = 28
CENTRE = 14.0

Point = tuple[float, float]
Generator = np.random.Generator


@dataclass(frozen=True)
class Part:
    """One polygon: its corners and its tone from 0 (ground) to 1."""

    points: tuple[Point, ...]
    tone: float = 1.0


def _mirrored(*right: Point) -> tuple[Point, ...]:
    """A polygon that is symmetric about the middle, from its right half, top to bottom; x counts from the middle."""
    outer = [(CENTRE + x, y) for x, y in right]
    return (*outer, *((2 * CENTRE - x, y) for x, y in reversed(outer)))


def _smooth(points: tuple[Point, ...], times: int = 2) -> tuple[Point, ...]:
    """Round the corners of a closed polygon. Source: G. Chaikin, An algorithm for high speed curve generation, 1974."""
    for _ in range(times):
        pairs = zip(points, (*points[1:], points[0]), strict=True)
        points = tuple(
            (near * a[0] + (1 - near) * b[0], near * a[1] + (1 - near) * b[1])
            for a, b in pairs
            for near in (0.75, 0.25)
        )
    return points


def _vary(rng: Generator, value: float, by: float) -> float:
    return float(value + rng.uniform(-by, by))


def t_shirt(rng: Generator) -> list[Part]:
    """Short sleeves, straight body, round neck."""
    waist, sleeve, cuff = _vary(rng, 7.0, 0.5), _vary(rng, 11.8, 0.6), _vary(rng, 10.0, 0.7)
    body = _mirrored(
        (3.6, 0.5),
        (7.4, 1.8),
        (9.6, 4.4),
        (sleeve, cuff - 1.2),
        (sleeve - 2.6, cuff),
        (waist + 0.4, 8.4),
        (waist, 27.6),
    )
    neck = _smooth(_mirrored((3.2, 0.0), (2.2, 1.8), (0.6, 2.6)))
    return [Part(body), Part(neck, 0.0)]


def trouser(rng: Generator) -> list[Part]:
    """Two legs that separate below the hip."""
    hip, ankle, spread = _vary(rng, 5.0, 0.5), _vary(rng, 3.0, 0.35), _vary(rng, 2.2, 0.4)
    crotch = _vary(rng, 9.0, 0.8)
    legs = _mirrored((hip - 1.2, 0.4), (hip, 6), (hip + 0.2, 14), (spread + ankle, 27.6), (spread - 0.2, 27.6))
    gap = _mirrored((0.1, crotch), (spread - 0.2, 27.8))
    return [Part(legs), Part(gap, 0.0), Part(_mirrored((hip - 1.2, 0.4), (hip - 1.1, 1.6)), 0.85)]


def pullover(rng: Generator) -> list[Part]:
    """Long sleeves that hang next to a straight body, small round neck."""
    return _long_sleeved(rng, waist=_vary(rng, 7.0, 0.4), neck_depth=1.6)


def dress(rng: Generator) -> list[Part]:
    """Narrow, full height, fitted waist, hem a little wider."""
    shoulder, waist, hem = _vary(rng, 3.7, 0.4), _vary(rng, 3.2, 0.3), _vary(rng, 5.4, 0.9)
    body = _mirrored(
        (shoulder - 1.4, 0.4), (shoulder, 0.9), (shoulder + 0.3, 5), (waist, 10), (hem - 0.8, 18), (hem, 27.6)
    )
    neck = _smooth(_mirrored((1.9, 0.0), (1.3, 2.6), (0.4, 3.4)))
    return [Part(body), Part(neck, 0.0)]


def coat(rng: Generator) -> list[Part]:
    """Wider than a pullover, sleeves as long as the body and close to it, standing collar, a seam down the front."""
    waist = _vary(rng, 7.4, 0.4)
    parts = _long_sleeved(rng, waist=waist, neck_depth=None, longer=1.8)
    flare = _mirrored((waist, 10.0), (waist + 0.7, 27.8))
    collar = _mirrored((2.4, 0.2), (3.6, 2.4), (0.1, 3.2))
    front = _mirrored((0.35, 3.0), (0.4, 27.8))
    return [*parts, Part(flare), Part(collar, 0.9), Part(front, _vary(rng, 0.55, 0.15))]


def sandal(rng: Generator) -> list[Part]:
    """A wedge on a thin sole with open straps."""
    heel = _vary(rng, 9.0, 1.5)
    sole = ((1.0, 20.6), (8.0, 20.0), (15.0, 18.0), (26.5, 19.6 - heel * 0.5), (26.8, 21.8), (14.0, 22.0), (1.2, 22.0))
    hollow = ((16.0, 19.8), (24.5, 17.6 - heel * 0.3), (24.5, 22.5), (15.0, 22.5))
    straps = [
        ((3.5, 20.2), (8.0, 15.6), (9.6, 15.6), (6.0, 20.2)),
        ((8.0, 15.6), (12.5, 18.8), (11.0, 19.4), (7.0, 16.6)),
        ((13.0, 18.6), (21.0, 9.6), (22.4, 10.0), (15.0, 18.6)),
        ((21.0, 9.6), (26.0, 14.8), (25.0, 16.0), (20.4, 11.0)),
    ]
    return [Part(sole), Part(hollow, 0.0), *(Part(strap, _vary(rng, 0.85, 0.1)) for strap in straps)]


def shirt(rng: Generator) -> list[Part]:
    """Slim, long sleeves close to the body, collar and buttoned front; its cloth is checked."""
    waist = _vary(rng, 5.9, 0.4)
    parts = _long_sleeved(rng, waist=waist, neck_depth=None, reach=3.0)
    collar = _mirrored((2.6, 0.2), (3.2, 1.6), (0.6, 3.6), (0.1, 2.4))
    buttons = [Part(_mirrored((0.45, y), (0.45, y + 1.0)), 0.45) for y in np.arange(5.0, 26.0, 3.2)]
    return [*parts, Part(collar, 0.75), *buttons]


def sneaker(rng: Generator) -> list[Part]:
    """A low shoe, toe to the left."""
    top, throat = _vary(rng, 9.4, 0.6), _vary(rng, 15.0, 0.7)
    upper = (
        (0.5, 17.8),
        (2.5, 16.2),
        (6.5, 15.0),
        (10.5, 13.4),
        (throat, top + 0.6),
        (throat + 2.4, top - 0.4),
        (20.2, top + 2.4),
        (24.0, top + 2.0),
        (26.6, top + 0.6),
        (27.6, 14.0),
        (27.6, 19.4),
        (0.6, 19.6),
    )
    sole = ((0.4, 18.6), (27.6, 18.2), (27.4, 20.4), (1.0, 20.4))
    stripes = [((x, 17.6), (x + 2.4, 13.0), (x + 3.3, 13.2), (x + 1.0, 17.6)) for x in (13.0, 15.6, 18.2)]
    return [Part(_smooth(upper, 1), 0.95), *(Part(stripe, 0.7) for stripe in stripes), Part(sole, 0.8)]


def bag(rng: Generator) -> list[Part]:
    """A wide body under a handle."""
    top, wide = _vary(rng, 11.0, 1.0), _vary(rng, 12.2, 0.8)
    handle = _smooth(_mirrored((1.0, top - 7.5), (6.2, top - 6.0), (7.4, top + 1)))
    inside = _smooth(_mirrored((1.0, top - 5.9), (4.8, top - 4.6), (5.9, top + 1)))
    body = _mirrored((wide - 0.9, top), (wide, top + 1.0), (wide + 0.4, 23.2), (wide - 0.6, 24.4))
    flap = _mirrored((wide - 0.4, top + 4.4), (wide - 0.3, top + 5.2))
    clasp = _mirrored((1.1, top + 3.6), (1.1, top + 6.4))
    return [Part(handle, 0.8), Part(inside, 0.0), Part(body), Part(flap, 0.7), Part(clasp, 0.5)]


def ankle_boot(rng: Generator) -> list[Part]:
    """Shaft on the right, toe to the left, block heel."""
    top, shaft = _vary(rng, 3.4, 0.9), _vary(rng, 14.4, 0.7)
    upper = (
        (shaft, top),
        (25.6, top - 0.4),
        (26.0, 10.0),
        (27.0, 17.0),
        (27.0, 23.6),
        (1.0, 23.8),
        (0.8, 20.8),
        (3.4, 18.6),
        (9.0, 16.8),
        (shaft - 0.8, 12.6),
    )
    sole = ((0.8, 22.8), (27.2, 22.4), (27.2, 26.2), (20.4, 26.2), (19.0, 24.6), (1.6, 24.6))
    seam = ((20.0, top + 0.6), (21.4, top + 0.6), (20.8, 12.0), (19.8, 12.0))
    return [Part(_smooth(upper, 1), 0.95), Part(sole, 0.7), Part(seam, 0.75)]


def _long_sleeved(
    rng: Generator, *, waist: float, neck_depth: float | None, longer: float = 0.0, reach: float = 4.4
) -> list[Part]:
    """Body and hanging sleeves with a gap between them.

    Args:
        rng: source of the variation.
        waist: half the width of the body.
        neck_depth: depth of the neck cut, None for no cut.
        longer: extra length of the sleeves compared with a pullover's.
        reach: distance of the cuffs from the waist.
    """
    cuff, outer = _vary(rng, 24.8 + longer, 0.8), _vary(rng, waist + reach, 0.5)
    shoulder = min(6.6, waist + 0.9)
    body = _mirrored((2.8, 0.8), (shoulder, 2.0), (waist, 8.0), (waist + 0.1, 27.4))
    sleeve = (
        (shoulder - 0.4, 1.8),
        (shoulder + 2.0, 4.4),
        (outer - 0.6, 14.0),
        (outer, cuff),
        (outer - 0.65 * reach, cuff + 0.6),
        (waist + 0.7, 13.0),
        (waist, 8.4),
    )
    right = tuple((CENTRE + x, y) for x, y in sleeve)
    left = tuple((CENTRE - x, y) for x, y in sleeve)
    parts = [Part(right, 0.9), Part(left, 0.9), Part(body)]
    if neck_depth is not None:
        parts.append(Part(_smooth(_mirrored((2.6, 0.0), (1.9, neck_depth + 0.4), (0.6, neck_depth + 1.0))), 0.0))
    return parts


CHECKS: Mapping[str, float] = {"Shirt": 0.3}
"""Label -> contrast of a checked pattern on the cloth; the others are plain."""

OUTLINES: Mapping[str, Callable[[Generator], list[Part]]] = {
    "T-shirt/top": t_shirt,
    "Trouser": trouser,
    "Pullover": pullover,
    "Dress": dress,
    "Coat": coat,
    "Sandal": sandal,
    "Shirt": shirt,
    "Sneaker": sneaker,
    "Bag": bag,
    "Ankle boot": ankle_boot,
}
