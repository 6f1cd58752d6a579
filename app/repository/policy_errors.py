"""Mistakes in serving.json in one sentence: the key, its value, the rule that it breaks."""

from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_LONGEST_VALUE = 200


def in_words(policy: type[BaseModel], error: ErrorDetails) -> str:
    """One mistake in a sentence.

    Args:
        policy: the model of the document.
        error: as pydantic reports it.
    """
    where = [part for part in error["loc"] if isinstance(part, str)]
    if error["type"] == "json_invalid":
        return f"not JSON: {error['ctx']['error']}"
    if error["type"] == "extra_forbidden":
        place, keys = f" in {'.'.join(where[:-1])}" if where[:-1] else "", _keys(policy, where[:-1])
        return f"unknown key {shown(where[-1])}{place}; known: {', '.join(keys)}"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{'.'.join(where) or 'the document'} is {shown(error['input'])}: {error['msg']}"


def shown(value: object) -> str:
    """A value for a message, shortened."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _keys(policy: type[BaseModel], path: list[str]) -> list[str]:
    """Keys of the part of the policy at ``path``."""
    for name in path:
        kinds = [policy.model_fields[name].annotation, *get_args(policy.model_fields[name].annotation)]
        policy = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(policy.model_fields)
