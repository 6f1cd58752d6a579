"""``--set path.to.field=value``: replaces one setting of a recipe, parsed by the field's declared type.

A setting is a field of a (nested) frozen dataclass whose type is int, float, bool, str, a Literal, a tuple of
these, or one of them or None. Functions, and the fields with the metadata ``FIXED``, are part of the recipe's identity,
not settings.
"""

import dataclasses
import math
import types
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from training.errors import SettingRefused

T = TypeVar("T")

FIXED = {"setting": False}
"""Metadata of a dataclass field that ``--set`` cannot reach."""
PARTS = {"setting": "parts"}
"""Metadata of a field that holds a tuple of dataclasses, each found by its ``name``."""

_NONE = {"none", "null"}
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def settings(root: object, *, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting below ``root`` as (dotted path, value), in order of declaration."""
    for field in dataclasses.fields(root):  # type: ignore[arg-type]
        if field.metadata.get("setting") is False:
            continue
        value, path = getattr(root, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from settings(value, prefix=f"{path}.")
        elif field.metadata == PARTS:
            for element in value:
                yield from settings(element, prefix=f"{path}.{element.name}.")
        elif not callable(value):
            yield path, value


def apply_overrides(root: T, assignments: Iterable[str]) -> T:
    """Return ``root`` with each ``path=value`` of ``assignments`` applied in order.

    Raises:
        SettingRefused: no ``=``, a path that ``refuse_unknown`` refuses, or a value that does not fit the field's type.
    """
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        path = path.strip()
        refuse_unknown(root, path, text.strip() or "VALUE")
        if not separator:
            example = as_text(dict(settings(root))[path]) or "VALUE"
            raise SettingRefused(f"--set {assignment!r} has no '='; write for example --set {path}={example}")
        try:
            root = _replace(root, path.split("."), text.strip())
        except ValueError as error:  # of its type, or a rule of a dataclass that contains it
            raise SettingRefused(f"--set {path}={text.strip()}: {error}") from error
    return root


def as_text(value: Any) -> str:
    """The value of a setting as ``--set`` takes it: the inverse of parsing."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ",".join(as_text(part) for part in value)
    return str(value)


def refuse_unknown(root: object, path: str, text: str, *, option: str = "--set") -> None:
    """Refuse a path that no setting has.

    The message says that the recipe fixes it, or has the nearest setting as ``option`` takes it, or else those whose
    path begins alike: all, if none does.

    Raises:
        SettingRefused: as said.
    """
    if path in (known := [name for name, _ in settings(root)]):
        return
    steps = path.split(".")
    below = _below(known, steps)
    if not below and _has_field(root, steps):
        raise SettingRefused(f"{path!r} is not a setting: the recipe fixes it; change it in the file of the recipe")
    if not below and (near := _nearest(path, known)):
        raise SettingRefused(f"{path!r} is not a setting; did you mean {option} {near}={text}?")
    while steps and not below:
        below = _below(known, steps := steps[:-1])
    raise SettingRefused(f"{path!r} is not a setting; there are: {', '.join(below or known)}")


def _below(known: list[str], steps: list[str]) -> list[str]:
    """The known paths that begin with ``steps``."""
    return [name for name in known if name.split(".")[: len(steps)] == steps]


def _has_field(root: Any, steps: list[str]) -> bool:
    """Whether the dataclasses below ``root`` have a field at this path, a setting or not."""
    for step in steps:
        if isinstance(root, tuple):
            root = next((part for part in root if getattr(part, "name", None) == step), None)
            if root is None:
                return False
        elif dataclasses.is_dataclass(root) and step in {field.name for field in dataclasses.fields(root)}:
            root = getattr(root, step)
        else:
            return False
    return True


def _nearest(path: str, known: list[str]) -> str | None:
    """The known path with the most similar spelling; a path without a dot is only compared with last steps."""
    spelt = {name if "." in path else name.rpartition(".")[2]: name for name in reversed(known)}
    return next((spelt[match] for match in get_close_matches(path, spelt, n=1)), None)


def _replace(node: Any, steps: list[str], text: str) -> Any:
    name, *rest = steps
    if isinstance(node, tuple):  # a tuple of dataclasses, each with a name
        return tuple(_replace(part, rest, text) if part.name == name else part for part in node)
    if rest:
        return dataclasses.replace(node, **{name: _replace(getattr(node, name), rest, text)})
    return dataclasses.replace(node, **{name: _parse(text, get_type_hints(type(node))[name])})


def _parse(text: str, declared: Any) -> Any:
    """``text`` as a value of the type ``declared``; the ValueError names what the type accepts."""
    origin, arguments = get_origin(declared), get_args(declared)
    if origin in {Union, types.UnionType}:
        if type(None) in arguments and text.lower() in _NONE:
            return None
        return _parse(text, next(argument for argument in arguments if argument is not type(None)))
    if origin is Literal:
        if text not in arguments:
            raise ValueError(f"expected one of {', '.join(map(str, arguments))}")
        return text
    if origin is tuple:
        parts = [part.strip() for part in text.strip("()[]").split(",") if part.strip()]
        if arguments[-1] is not Ellipsis and len(parts) != len(arguments):
            raise ValueError(f"expected {len(arguments)} values separated by commas")
        return tuple(_parse(part, arguments[0]) for part in parts)
    if declared is bool:
        if text.lower() not in _BOOLEANS:
            raise ValueError("expected true or false")
        return _BOOLEANS[text.lower()]
    if declared is str:
        return text
    if declared not in (int, float):  # part of the recipe that is left out
        raise ValueError("expected none: only the file of the recipe can name another one")
    try:
        number = declared(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected {'a whole number' if declared is int else 'a finite number'}")
    return number
