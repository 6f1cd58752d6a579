"""Pictures of a study: the value of each trial, and the value over each setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from training.measure.drawing import figure, save
from training.overrides import as_text
from training.recipe.search import Choices, SearchSpace

HISTORY_PICTURE = "history.png"
SLICE_PICTURE = "slice.png"
PANE_INCHES = 3.6


def draw_history(trials: Sequence[FrozenTrial], path: Path, *, monitor: str, minimize: bool) -> Path:
    """The value of each trial, and the best so far; pruned ones apart, failed ones as gaps.

    Args:
        trials: that count, in order.
        path: of the PNG file.
        monitor: what the values are.
        minimize: whether smaller ones are better.
    """
    drawn = figure()
    axes = drawn.subplots()
    best: list[tuple[int, float]] = []
    for place, trial in enumerate(trials, start=1):
        if trial.state is TrialState.COMPLETE and trial.value is not None:
            better = min if minimize else max
            best.append((place, better(trial.value, best[-1][1]) if best else trial.value))
    for state, marker, label in ((TrialState.COMPLETE, "o", "complete"), (TrialState.PRUNED, "x", "pruned")):
        points = [(place, trial.value) for place, trial in enumerate(trials, start=1) if trial.state is state]
        if points:
            axes.scatter(*zip(*points, strict=True), marker=marker, label=label)
    if best:
        axes.plot(*zip(*best, strict=True), label="best so far", drawstyle="steps-post")
    axes.set(xlabel="trial", ylabel=monitor.replace("val_", "validation "))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    return save(drawn, path)


def draw_slices(trials: Sequence[FrozenTrial], space: SearchSpace, path: Path, *, monitor: str) -> Path:
    """One pane for each setting: the value of every trial over the value of the setting.

    Args:
        trials: with values.
        space: the settings; logarithmic ranges get a logarithmic axis.
        path: of the PNG file.
        monitor: what the values are.
    """
    drawn = figure(width=PANE_INCHES * len(space))
    panes: Any = drawn.subplots(1, len(space), sharey=True, squeeze=False)[0]
    for axes, (name, searched) in zip(panes, space.items(), strict=True):
        chosen = [trial.params[name] for trial in trials]
        if isinstance(searched, Choices):
            kinds = [as_text(value) for value in searched.values]
            places = [kinds.index(value) for value in chosen]
            axes.set_xticks(range(len(kinds)), kinds)
            axes.set_xlim(-0.5, len(kinds) - 0.5)
        else:
            places = chosen
            if searched.logarithmic:
                axes.set_xscale("log")
        colours = axes.scatter(places, [trial.value for trial in trials], c=range(1, len(trials) + 1), cmap="viridis")
        axes.set(xlabel=name)
        axes.grid(alpha=0.3)
    panes[0].set(ylabel=monitor.replace("val_", "validation "))
    drawn.colorbar(colours, ax=list(panes), label="trial")
    return save(drawn, path)
