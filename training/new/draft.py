"""What ``training new`` says about data, and the recipe file that it writes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.contract.model_spec import NAME_RULE, is_model_name
from training.errors import SettingRefused
from training.runs.catalogue import own_recipes_folder, recipe_names

MOST_SHOWN = 5
"""Files, rows or classes that one line names; for more it gives their number."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The result of looking at data.

    Attributes:
        facts: (name, value) lines about the data.
        notes: sentences about what the recipe leaves out, or what to think of.
        text: of the recipe file.
    """

    facts: Sequence[tuple[str, str]]
    notes: Sequence[str] = field(default=())
    text: str


def recipe_path(name: str) -> Path:
    """The new file ``NAME.py`` in the folder of own recipes.

    Raises:
        SettingRefused: no name for a model, a recipe with this name exists, or a file is in the way.
    """
    if not is_model_name(name):
        raise SettingRefused(f"{name!r} cannot be the name of a model: {NAME_RULE}")
    if set(name) & set("_ ."):
        raise SettingRefused(f"{name!r}: use - in place of _, spaces and dots, so that the file can have the name")
    if name in recipe_names():
        own = own_recipes_folder() / f"{name.replace('-', '_')}.py"
        remedy = f", or remove {own}" if own.is_file() else ""
        raise SettingRefused(f"there is already a recipe {name!r}; choose another name{remedy}")
    return own_recipes_folder() / f"{name.replace('-', '_')}.py"


def some(values: Sequence[str], most: int = MOST_SHOWN) -> str:
    """The values, or the first of them and how many there are."""
    more = f" and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(values[:most]) + more


def balance(counts: Mapping[str, int]) -> str:
    """Each class with its number of rows."""
    return some([f"{label} {count}" for label, count in counts.items()], 20)


def is_unbalanced(counts: Mapping[str, int]) -> bool:
    """Whether the largest class has more than twice the rows of the smallest."""
    return max(counts.values()) > 2 * min(counts.values())


def epochs_for(rows: int, *, rows_in_all: int, least: int, most: int) -> int:
    """Epochs in which a training sees about ``rows_in_all`` rows, of a data set of ``rows``."""
    return min(max(rows_in_all // rows, least), most)


def source(text: str) -> str:
    """Python source of a text, in double quotes; strings of JSON are strings of Python."""
    return json.dumps(text, ensure_ascii=False)


def in_docstring(text: str) -> str:
    """The text for the docstring of a recipe: no quotes, escapes or control characters that would end or change it."""
    return "".join(each if each.isprintable() else " " for each in text.replace("\\", "/").replace('"', "'"))


def tuple_source(values: Sequence[str], indent: str = "        ") -> str:
    """Python source of a tuple of texts, one a line if there are several."""
    if len(values) <= 1:
        return f"({source(values[0])},)" if values else "()"
    return "(\n" + "".join(f"{indent}    {source(value)},\n" for value in values) + f"{indent})"
