"""Paths of the inference routes: ``/v1/models/{name}[/versions/{n}|/labels/{l}]:{verb}``."""

import re
from dataclasses import dataclass
from functools import lru_cache

VERBS = ("predict", "classify")

_V1 = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[^/:]*)|/labels/(?P<label>[^/:]+))?:(?P<verb>[^/:]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Route:
    """What an inference path names.

    Attributes:
        name: model.
        version, label: as written; at most one of them is set.
        verb: what to do, in lower case; not necessarily one of VERBS.
    """

    name: str
    version: str | None
    label: str | None
    verb: str


@lru_cache(maxsize=1024)
def match(path: str) -> Route | None:
    """The route of a decoded path; None if it is no inference path."""
    found = _V1.fullmatch(path)
    if found is None:
        return None
    return Route(found["name"], found["version"], found["label"], found["verb"].lower())
