"""Versions as the registry knows them: their states, and the words for what does not exist."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.errors import ModelNotFound, SettingsUnwritable, VersionNotFound
from app.loaded import LoadedModel


class State(StrEnum):
    """State of a version; words of Triton's repository extension."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(slots=True)
class VersionRecord:
    """One version that the registry knows of.

    Attributes:
        version: its number.
        state: where it stands.
        reason: why it is unavailable, or why it serves otherwise than serving.json asks for; else empty.
        refused: it is unavailable because it cannot be loaded.
        model: set while READY.
        fingerprint: of its files when it was tried last.
        settings: that it was tried with last.
        failures: attempts to load it since it last served.
        tried_at: monotonic seconds of the last failure.
        retry_at: monotonic seconds from which on it may be tried again; None: when its files change.
    """

    version: int
    state: State
    reason: str = ""
    refused: bool = False
    model: LoadedModel | None = None
    fingerprint: Hashable = None
    settings: tuple[object, ...] = ()
    failures: int = 0
    tried_at: float = 0.0
    retry_at: float | None = None


def no_model(name: str, known: Iterable[str]) -> ModelNotFound:
    """There is no model of that name, and which there are."""
    return ModelNotFound(f"model {name!r} is not in the repository; models: {', '.join(known) or 'none'}")


def no_version(name: str, version: int, known: Iterable[int]) -> VersionNotFound:
    """In TensorFlow Serving's words, and which versions there are."""
    return VersionNotFound(f"Could not find version {version} of model {name}; known versions: {listed(known)}")


def unwritable(name: str, error: OSError) -> SettingsUnwritable:
    """The settings of a model cannot be changed."""
    return SettingsUnwritable(f"serving.json of model {name!r} cannot be written and is as it was: {error.strerror}")


def listed(versions: Iterable[int]) -> str:
    """Version numbers for a message, the lowest first."""
    return ", ".join(map(str, sorted(versions)))
