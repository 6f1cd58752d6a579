"""Paths of the inference routes: ``/v1/models/{name}[/versions/{n}|/labels/{l}]:{verb}``."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Verb = Literal["predict", "classify"]

_V1 = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]{1,18})|/labels/(?P<label>[^/:]+))?:(?P<verb>predict|classify)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Route:
    """What an inference path names.

    Attributes:
        name: model.
        version, label: at most one of them is set.
        verb: what to do.
    """

    name: str
    version: int | None
    label: str | None
    verb: Verb


@lru_cache(maxsize=1024)
def match(path: str) -> Route | None:
    """The route of a decoded path; None if it is no inference path."""
    found = _V1.fullmatch(path)
    if found is None:
        return None
    version, label = found["version"], found["label"]
    verb: Verb = "predict" if found["verb"].lower() == "predict" else "classify"
    return Route(found["name"], int(version) if version else None, label, verb)
