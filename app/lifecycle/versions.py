"""Versions as the registry knows them, and their states."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

from app.loaded import LoadedModel


class State(StrEnum):
    """State of a version; names of Triton's repository extension."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(slots=True)
class VersionRecord:
    """One version that the registry knows of.

    Attributes:
        version: its number.
        state: the present one.
        reason: why it is unavailable, or why it serves differently from serving.json; else empty.
        refused: it is unavailable because it cannot be loaded.
        sleeps: it is unavailable until the next request loads it.
        model: set while READY.
        fingerprint: of its files when it was last loaded or refused.
        settings: that it was last loaded or refused with.
        failures: attempts to load it since it last served.
        tried_at: monotonic seconds of the last failure.
        retry_at: monotonic seconds from which on it may be loaded again; None: when its files change.
    """

    version: int
    state: State
    reason: str = ""
    refused: bool = False
    sleeps: bool = False
    model: LoadedModel | None = None
    fingerprint: Hashable = None
    settings: tuple[object, ...] = ()
    failures: int = 0
    tried_at: float = 0.0
    retry_at: float | None = None
