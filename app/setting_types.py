"""Types of settings: how a flag or variable is read as a value, and default directories."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainSerializer
from pydantic_settings import NoDecode

from app.control.sites import ANY
from app.edge.entry.access_log import AccessLog
from app.edge.entry.bind import Bind
from app.edge.entry.trace_context import is_installed
from app.mirror.location import Location
from app.mirror.remote import check_installed


def _prefix_path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9_.~-]{1,100}){0,8}", value):
        allowed = "expected a path such as /atelier: letters, digits and ._~-, without a slash at its end"
        raise ValueError(f"ATELIER_ROOT_PATH is {value!r}; {allowed}")
    return value


def _split(value: Any) -> Any:
    """A list as flags and variables write it: ``a, b``."""
    return [part for each in value.split(",") if (part := each.strip())] if isinstance(value, str) else value


def _models_dir(value: Any) -> Any:
    """A URL as its location; its packages must be installed."""
    location = Location.parse(value) if isinstance(value, str) else None
    if location is None:
        return value
    check_installed(location)
    return location


def _address(value: str) -> str:
    Bind.parse(value)
    return value


def _logged_requests(value: str) -> str:
    AccessLog.parse(value)
    return value


def _origin(value: str) -> str:
    if value != ANY and not re.fullmatch(r"https?://[^/?#@\s]+/?", value):
        raise ValueError(f"{value!r} is not an origin; write https://app.example, or * for all")
    return value


def _endpoint(value: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+(/\S*)?", value):
        raise ValueError(f"{value!r} is not a URL; write http://localhost:4318/v1/traces")
    if not is_installed():
        raise ValueError("tracing requires packages that are not installed: pip install -r requirements/tracing.txt")
    return value


ModelsDir = Annotated[Path | Location, NoDecode, BeforeValidator(_models_dir), PlainSerializer(str)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_split)]
OtherServers = Annotated[tuple[Literal["triton", "tfs"], ...], NoDecode, BeforeValidator(_split)]
PrefixPath = Annotated[str, AfterValidator(_prefix_path)]
Address = Annotated[str, AfterValidator(_address)]
LoggedRequests = Annotated[str, AfterValidator(_logged_requests)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]


def _in_home(variable: str, below: str) -> Path | None:
    """As in the XDG Base Directory Specification 0.8; None without the variable and without a home."""
    if stated := os.environ.get(variable):
        return Path(stated) / "atelier"
    try:
        return Path.home() / below / "atelier"
    except RuntimeError:
        return None


def default_state_dir() -> Path | None:
    """$XDG_STATE_HOME/atelier; see ``_in_home``."""
    return _in_home("XDG_STATE_HOME", ".local/state")


def default_mirror_dir() -> Path | None:
    """$XDG_CACHE_HOME/atelier/mirror; see ``_in_home``."""
    cache = _in_home("XDG_CACHE_HOME", ".cache")
    return None if cache is None else cache / "mirror"
