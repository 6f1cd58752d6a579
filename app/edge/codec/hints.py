"""Hints for error messages: the inputs that a model accepts and how to send them."""

from app.loaded import LoadedModel

_BODY = {"image": "an image (image/png, image/jpeg, ...) or ", "text": "text (text/plain) or "}
_VALUE = {"image": '{"b64": ...}', "text": "a string"}


def how_to_send(model: LoadedModel) -> str:
    """The bodies that the model accepts, each with its Content-Type."""
    step = model.spec.preprocessing
    media = "" if step is None else _BODY[step.kind]
    if model.spec.body_string is not None:
        media = "the bytes of one string (text/plain, image/..., application/octet-stream) or "
    return f"model {model.name!r} takes {media}JSON (application/json) with {_keys(model)}"


def how_to_name(model: LoadedModel) -> str:
    """The keys that a row of JSON may have, each with its value."""
    return f"model {model.name!r} takes {_keys(model)}"


def _keys(model: LoadedModel) -> str:
    step = model.spec.preprocessing
    inputs = {
        tensor.name: tensor.in_words + (', each a string or {"b64": ...}' if tensor.is_string else "")
        for tensor in model.spec.inputs
    }
    if step is not None:
        inputs[step.input] = f"{step.kind!r} ({_VALUE[step.kind]}) or {inputs[step.input]}"
    return " and ".join(inputs.values())
