"""``:explain``: bodies as for ``:predict``, options beside them or in the query, and replies with the scores of parts.

Source of the verb: KServe, data plane V1, explain.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import orjson

from app.batching.work import Answer
from app.edge.call import InferenceRequest
from app.edge.codec.encoded import Encoded, Inputs
from app.edge.codec.json_tensor import Document
from app.edge.codec.json_values import JsonValue, plain
from app.edge.respond import PNG, Reply
from app.errors import InvalidInput, quoted
from app.explain.explainer import DEFAULT_SAMPLES, METHODS, MOST_SAMPLES, Asked, Explanation
from app.explain.heat_map import heat_map
from app.explain.methods import Attribution
from app.loaded import LoadedModel

OPTIONS = ("method", "class", "samples", "seed", "grid")
_MOST_GRID = 16
_WHOLE = {"samples": (2, MOST_SAMPLES), "seed": (0, 2**32 - 1), "grid": (2, _MOST_GRID)}


@dataclass(slots=True)
class ExplainRequest(InferenceRequest[Reply]):
    """A request for explanations: as one for the answers, and how they are explained."""

    asked: Asked = field(default_factory=Asked)


def explain_request(
    inputs: Inputs, query: bytes, document: Document | None, signature: LoadedModel | None
) -> ExplainRequest:
    """A request from its inputs and its options. Arguments and errors as ``asked_in``; ``signature`` see ``model``."""
    return ExplainRequest(inputs, _is_not_printed, model=signature, asked=asked_in(query, document))


def _is_not_printed(answer: Answer) -> Reply:
    raise AssertionError(f"the outputs {list(answer)} of an explanation are not sent")


def asked_in(query: bytes, document: Document | None) -> Asked:
    """The options of a request: those of its JSON body, or else of its query.

    Args:
        query: after the question mark.
        document: the body; None if it is not JSON.

    Raises:
        InvalidInput: names the option and the rule it breaks.
    """
    given: dict[str, JsonValue] = {}
    for name, values in parse_qs(query.decode("latin-1"), keep_blank_values=True).items():
        if name not in OPTIONS:
            raise InvalidInput(f"query parameter {quoted(name)} is unknown; :explain takes {', '.join(OPTIONS)}")
        given[name] = _from_query(name, values[-1])
    if document is not None:
        given |= {name: plain(document.get(name)) for name in OPTIONS if document.has(name)}
    return asked_of(given)


def asked_of(given: Mapping[str, Any]) -> Asked:
    """The options of ``OPTIONS`` that a request gives, checked; others are not looked at. Raises as ``asked_in``."""
    method = given.get("method", METHODS[0])
    if method not in METHODS:
        raise InvalidInput(f"'method' is {quoted(method)}; send one of {', '.join(METHODS)}")
    target = given.get("class")
    if target is not None and (isinstance(target, bool) or not isinstance(target, int | str)):
        raise InvalidInput(f"'class' is {quoted(target)}; send a label or the index of a class")
    whole = {name: _whole(name, given[name]) for name in _WHOLE if given.get(name) is not None}
    samples = whole.get("samples", DEFAULT_SAMPLES)
    if samples % 2:
        raise InvalidInput(f"'samples' is {samples}; send an even number: each order is also taken backwards")
    return Asked(method=method, target=target, samples=samples, seed=whole.get("seed", 0), grid=whole.get("grid"))


def _from_query(name: str, text: str) -> JsonValue:
    is_number = text.isascii() and text.removeprefix("-").isdigit() and len(text) <= len(str(_WHOLE["seed"][1]))
    return int(text) if is_number and name in _WHOLE else text


def _whole(name: str, value: JsonValue) -> int:
    low, high = _WHOLE[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidInput(f"{name!r} is {quoted(value)}; send a whole number from {low} to {high}")
    return value


def words_of(inputs: Inputs, model: LoadedModel) -> dict[str, list[list[str]]]:
    """The tokens of the inputs that were sent as texts, as they are written there."""
    if model.tokenizer is None:
        return {}
    return {
        name: [model.tokenizer.split(text.decode() if isinstance(text, bytes) else text) for text in value.items]
        for name, value in inputs.items()
        if isinstance(value, Encoded)
    }


async def words_aside(inputs: Inputs, model: LoadedModel) -> dict[str, list[list[str]]]:
    """``words_of`` in a thread: splitting long texts would block the event loop."""
    return await asyncio.to_thread(words_of, inputs, model) if model.tokenizer is not None else {}


def print_explanations(found: Sequence[Explanation], model: LoadedModel, asked: Asked) -> Reply:
    """The reply in JSON."""
    body = {
        "model_name": model.name,
        "model_version": str(model.version),
        "explanations": [document_of(each, model, asked) for each in found],
    }
    return Reply(200, orjson.dumps(body))


def document_of(found: Explanation, model: LoadedModel, asked: Asked) -> dict[str, Any]:
    """One explanation for JSON."""
    attribution, flip = found.attribution, found.flip
    return {
        "method": asked.method,
        "class": _class(found.target, model),
        "value": found.value,
        "baseline_value": found.baseline,
        "baseline": found.parts.replaced_by,
        "kind": found.parts.kind,
        **found.parts.described(attribution.scores, attribution.errors),
        "sampling_error": _error(attribution),
        "flip": None
        if flip is None
        else {"parts": flip.parts, "class": _class(flip.target, model), "value": flip.value},
    }


def _error(attribution: Attribution) -> float | None:
    if attribution.missing is not None:
        return abs(attribution.missing)
    return None if attribution.errors is None else float(attribution.errors.max())


def _class(index: int, model: LoadedModel) -> Mapping[str, Any] | None:
    return {"index": index, "label": model.classes[index]} if model.classes else None


def print_heat_map(found: Sequence[Explanation], model: LoadedModel) -> Reply:
    """The reply as a picture.

    Raises:
        InvalidInput: there is not exactly one instance, or it has no image.
    """
    if len(found) != 1:
        raise InvalidInput(f"the request holds {len(found)} instances; a heat map (Accept: image/png) shows one")
    picture = heat_map(found[0])
    if picture is None:
        raise InvalidInput(f"model {model.name!r} takes no images; ask for application/json in place of image/png")
    return Reply(200, picture, (PNG,))
