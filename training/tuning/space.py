"""What ``tune`` tries for which settings: given on the command line, declared by the recipe, or by what it has."""

from collections.abc import Iterable, Mapping
from typing import Any

from training.errors import SettingRefused
from training.overrides import apply_overrides, as_text, refuse_unknown, settings
from training.recipe.recipe import Recipe
from training.recipe.search import Choices, Range, SearchSpace

FACTOR = 10
"""By default the learning rate is searched from a tenth to ten times that of the recipe."""
LARGEST_RATE = 1.0
MOST_DROPOUT = 0.6
UNITS = ("units", "widths")
"""Names of the setting of a network for the units of its dense layers."""


def search_space(recipe: Recipe, searched: Iterable[str] = (), fixed: Iterable[str] = ()) -> SearchSpace:
    """The space of a study, checked.

    Args:
        recipe: with the overrides applied.
        searched: ``PATH=LOW..HIGH``, ``PATH=LOW..HIGH,log`` or ``PATH=FIRST/SECOND/...``; any takes the place of
            the recipe's own space.
        fixed: paths that ``--set`` changed, which are not searched.

    Raises:
        SettingRefused: a path or a value is not one of the recipe, or nothing is left to search.
    """
    given = dict(_parsed(text) for text in searched)
    space = given or {
        path: tried for path, tried in (recipe.search or default_space(recipe)).items() if path not in set(fixed)
    }
    if both := given.keys() & set(fixed):
        raise SettingRefused(f"--search and --set both name {sorted(both)[0]}; leave one of them out")
    if not space:
        raise SettingRefused(f"{recipe.name}: --set fixes every setting of its space; give another with --search")
    for path, tried in space.items():
        refuse_unknown(recipe, path, shown(tried), option="--search")
        whole = _is_whole(recipe, path)
        if isinstance(tried, Choices):
            ends = [as_text(value) for value in tried.values]
        else:
            ends = [number(tried.low, whole), number(tried.high, whole)]
        for text in ends:
            apply_overrides(recipe, [f"{path}={text}"])
    return space


def default_space(recipe: Recipe) -> SearchSpace:
    """Learning rate; rows of a batch; dropout and units of dense layers, where the network has these settings."""
    space: SearchSpace = {}
    rate = recipe.optimizer.learning_rate
    space["optimizer.learning_rate"] = Range(
        low=rate / FACTOR, high=max(rate, min(rate * FACTOR, LARGEST_RATE)), logarithmic=True
    )
    rows = recipe.fitting.batch_size
    if recipe.fitting.descent == "mini-batch":
        space["fitting.batch_size"] = Choices(values=tuple(sorted({max(1, rows // 2), rows, rows * 2})))
    for path, value in settings(recipe.network, prefix="network."):
        name = path.rpartition(".")[2]
        if name == "dropout":
            space[path] = Range(low=0.0, high=MOST_DROPOUT)
        elif name in UNITS and isinstance(value, tuple) and value:
            sizes = [tuple(max(1, int(units * factor)) for units in value) for factor in (0.5, 1, 2)]
            space[path] = Choices(values=tuple(dict.fromkeys(sizes)))
    return space


def shown(tried: Range | Choices) -> str:
    """As ``--search`` takes it."""
    if isinstance(tried, Choices):
        return "/".join(map(as_text, tried.values))
    return f"{tried.low:g}..{tried.high:g}{',log' if tried.logarithmic else ''}"


def suggested(trial: Any, space: SearchSpace, recipe: Recipe) -> dict[str, str]:
    """Ask an Optuna trial for a value of each setting.

    Returns:
        Path -> value as ``--set`` takes it; numbers have four significant digits, so that the command that repeats a
        trial can be read.
    """
    chosen = {}
    for path, tried in space.items():
        if isinstance(tried, Choices):
            chosen[path] = trial.suggest_categorical(path, [as_text(value) for value in tried.values])
        elif _is_whole(recipe, path):
            value = trial.suggest_int(path, int(tried.low), int(tried.high), log=tried.logarithmic)
            chosen[path] = number(value, whole=True)
        else:
            value = trial.suggest_float(path, tried.low, tried.high, log=tried.logarithmic)
            chosen[path] = number(value, whole=False)
    return chosen


def assignments(values: Mapping[str, str]) -> list[str]:
    """``PATH=VALUE`` of each."""
    return [f"{path}={value}" for path, value in values.items()]


def number(value: float, whole: bool) -> str:
    """A number as ``--set`` takes it; one that is not whole stays so for a whole setting, which then refuses it."""
    return str(int(value)) if whole and value == int(value) else f"{value:.4g}"


def _is_whole(recipe: Recipe, path: str) -> bool:
    """Whether the setting is a whole number; one that is unset (None) counts as any number."""
    value = dict(settings(recipe))[path]
    return isinstance(value, int) and not isinstance(value, bool)


def _parsed(text: str) -> tuple[str, Range | Choices]:
    """One ``--search``.

    Raises:
        SettingRefused: it is not of the form.
    """
    path, separator, values = (part.strip() for part in text.partition("="))
    form = "write PATH=LOW..HIGH, PATH=LOW..HIGH,log or PATH=FIRST/SECOND"
    try:
        if separator and ".." in values:
            numbers, _, kind = values.partition(",")
            if kind.strip() not in {"", "log"}:
                raise ValueError(f"after the comma {kind.strip()!r} in place of log")
            low, _, high = numbers.partition("..")
            return path, Range(low=float(low), high=float(high), logarithmic=bool(kind))
        if separator and "/" in values:
            return path, Choices(values=tuple(value.strip() for value in values.split("/")))
    except ValueError as error:
        raise SettingRefused(f"--search {text}: {error}; {form}") from error
    raise SettingRefused(f"--search {text!r} has no range and no choices; {form}")
