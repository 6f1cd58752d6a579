"""Pictures of a run, all in the same style."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.disk import replaced

SIZE_INCHES = (6.4, 4.4)
RESOLUTION_DPI = 110


def figure(*, width: float = SIZE_INCHES[0], height: float = SIZE_INCHES[1]) -> Any:
    """An empty matplotlib figure; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=RESOLUTION_DPI, layout="constrained")


def save(drawn: Any, path: Path) -> Path:
    """Write a figure as PNG, without a date or version in it."""
    with replaced(path) as temporary:
        drawn.savefig(temporary, format="png", metadata={"Software": None})
    return path


def lines(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: Path,
    *,
    x: str,
    y: str,
    logarithmic: str = "",
    marker: str = ".",
) -> Path:
    """Draw named curves in one pane.

    Args:
        curves: label -> (x values, y values).
        path: of the PNG file.
        x, y: axis labels.
        logarithmic: ``x``, ``y`` or ``xy`` for logarithmic axes.
        marker: matplotlib's marker for the points.
    """
    drawn = figure()
    axes = drawn.subplots()
    for label, (across, up) in curves.items():
        axes.plot(across, up, marker=marker, label=label)
    axes.set(xlabel=x, ylabel=y)
    if "x" in logarithmic:
        axes.set_xscale("log")
    if "y" in logarithmic:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    return save(drawn, path)
