"""Triton's generate extension: a text and parameters in; a text, or its pieces as events, out.

Source: Triton, generate extension; WHATWG, server-sent events.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

import orjson

from app.batching.work import RequestOptions
from app.edge.codec.json_tensor import JsonReader
from app.edge.codec.json_values import JsonValue, kind_of_value, plain
from app.edge.respond import Header, Reply
from app.edge.rest.oip_inputs import EMPTY_FINAL, read_options
from app.errors import InvalidInput, quoted
from app.loaded import LoadedModel
from app.serving.generation import LARGEST_MAX_TOKENS, Sampling

EVENT_STREAM: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would keep the pieces back
)
TEXT_INPUT, TEXT_OUTPUT = "text_input", "text_output"
_SAMPLING = {field.name for field in fields(Sampling)}
_OTHER = {"stream", "priority", "timeout", "id"}
_LARGEST_TEMPERATURE = 100.0
_MOST_STOPS = 16
_LONGEST_STOP = 256


class TextRequest(NamedTuple):
    """A request to continue a text.

    Attributes:
        text: the prompt.
        sampling: how to choose tokens.
        options: priority and timeout.
        request_id: returned with the reply; empty if the request has none.
    """

    text: str
    sampling: Sampling
    options: RequestOptions
    request_id: str


def parse_generate(body: bytes, reader: JsonReader) -> TextRequest:
    """A request to continue a text. Parameters are in ``parameters`` or next to ``text_input``.

    Raises:
        InvalidInput: names the parameter, its value and the rule it breaks.
    """
    document = reader.read(body, strict=True)
    members = {key: plain(document.get(key)) for key in document.keys()}  # noqa: SIM118 - not a dict
    if TEXT_INPUT not in members:
        raise InvalidInput(f"{quoted(TEXT_INPUT)} is missing; {_instead(members)}send a string")
    text = members.pop(TEXT_INPUT)
    if isinstance(text, list) and len(text) == 1:  # a tensor of one text
        [text] = text
    if not isinstance(text, str):
        raise InvalidInput(f"'{TEXT_INPUT}' is {kind_of_value(text)}; send a string")
    parameters = members.pop("parameters", None)
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise InvalidInput(f"'parameters' is {kind_of_value(parameters)}; send an object {{key: value}}")
    request_id = read_id(members.pop("id", None))
    sampling, options = read_generation({**members, **parameters})
    return TextRequest(text, sampling, options, request_id)


def _instead(members: Mapping[str, Any]) -> str:
    """The first key of a request that generate does not know, which may be meant as its text."""
    unknown = next((name for name in members if name not in _SAMPLING | _OTHER | {EMPTY_FINAL, "parameters"}), None)
    return "" if unknown is None else f"key {quoted(unknown)} is unknown; "


def read_id(value: JsonValue) -> str:
    """The id that a reply repeats; empty without one.

    Raises:
        InvalidInput: it is neither a string nor a whole number.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidInput(f"'id' is {kind_of_value(value)}; send a string")
    return str(value)


def read_generation(parameters: Mapping[str, Any]) -> tuple[Sampling, RequestOptions]:
    """The sampling parameters, and priority and timeout. Raises as ``parse_generate`` does."""
    options = read_options(parameters)
    for name in parameters:
        if name not in _SAMPLING | _OTHER and name != EMPTY_FINAL:
            raise InvalidInput(
                f"parameter {quoted(name)} is unknown; generate takes {', '.join(sorted(_SAMPLING | _OTHER))}"
            )
    return _sampling({name: value for name, value in parameters.items() if name in _SAMPLING}), options


def print_text(text: str, model: LoadedModel, request_id: str) -> Reply:
    """The reply of ``generate``."""
    return Reply(200, _document(text, model, request_id))


async def events(pieces: AsyncIterator[str], model: LoadedModel, request_id: str) -> AsyncIterator[bytes]:
    """Pieces of text as server-sent events."""
    async for piece in pieces:
        yield event(_document(piece, model, request_id))


def event(data: bytes) -> bytes:
    """One server-sent event; encoded JSON contains no line breaks."""
    return b"data: " + data + b"\n\n"


def _document(text: str, model: LoadedModel, request_id: str) -> bytes:
    about = {"id": request_id} if request_id else {}
    return orjson.dumps({**about, "model_name": model.name, "model_version": str(model.version), TEXT_OUTPUT: text})


def _is_stop(value: JsonValue) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= _LONGEST_STOP


def _sampling(given: dict[str, JsonValue]) -> Sampling:
    settings: dict[str, Any] = {}
    for name, (low, high) in {
        "max_tokens": (1, LARGEST_MAX_TOKENS),
        "top_k": (0, 2**31 - 1),
        "seed": (0, 2**64 - 1),
    }.items():
        if (value := given.get(name)) is not None:
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InvalidInput(
                    f"parameter {quoted(name)} is {quoted(value)}; send a whole number from {low} to {high}"
                )
            settings[name] = value
    if (temperature := given.get("temperature")) is not None:
        number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
        if not number or not 0 <= temperature <= _LARGEST_TEMPERATURE:
            raise InvalidInput(
                f"parameter 'temperature' is {quoted(temperature)}; send a number from 0 to {_LARGEST_TEMPERATURE:g}"
            )
        settings["temperature"] = float(temperature)
    if (stop := given.get("stop")) is not None:
        stops = [stop] if isinstance(stop, str) else stop
        if not isinstance(stops, list) or len(stops) > _MOST_STOPS or not all(map(_is_stop, stops)):
            raise InvalidInput(
                f"parameter 'stop' is {kind_of_value(stop)}; send a string of 1 to {_LONGEST_STOP} characters, or a "
                f"list of at most {_MOST_STOPS} of them"
            )
        settings["stop"] = tuple(stops)
    return Sampling(**settings)
