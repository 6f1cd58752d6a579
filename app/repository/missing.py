"""The errors for a model or a version that does not exist, with the names that do."""

from collections.abc import Iterable

from app.errors import ModelNotFound, VersionNotFound


def no_model(name: str, known: Iterable[str]) -> ModelNotFound:
    """The error for an unknown model: it starts as Triton's, and lists the models that exist."""
    return ModelNotFound(f"Request for unknown model: {name!r} is not found; models: {', '.join(known) or 'none'}")


def no_version(name: str, version: int, known: Iterable[int]) -> VersionNotFound:
    """The error with TensorFlow Serving's message, and the existing versions."""
    return VersionNotFound(f"Could not find version {version} of model {name}; known versions: {listed(known)}")


def listed(versions: Iterable[int]) -> str:
    """Version numbers for a message, the lowest first."""
    return ", ".join(map(str, sorted(versions)))
