"""Bodies that are no JSON: images, plain text, forms with files, raw tensors."""

from typing import Any, Literal
from urllib.parse import parse_qs

import numpy as np
from python_multipart import FormParser
from python_multipart.multipart import parse_options_header

from app.contract.model_spec import ImagePreprocessing
from app.edge.hints import how_to_send
from app.edge.instances import instance, stack, utf8
from app.errors import InvalidInput, WrongFormat
from app.runtime.backend import Array
from app.serving.model import LoadedModel

Kind = Literal["json", "image", "text", "multipart", "form", "tensor"]

_BY_TYPE: dict[str, Kind] = {
    "application/json": "json",
    "text/json": "json",
    "text/plain": "text",
    "multipart/form-data": "multipart",
    "application/octet-stream": "tensor",
}
_UNTYPED = {"", "application/x-www-form-urlencoded", "*/*"}
_NAMES: dict[Kind, str] = {"image": "an image", "text": "text", "multipart": "a form", "form": "a form"}
_FITS: dict[str, set[Kind]] = {"image": {"image", "multipart"}, "text": {"text", "multipart", "form"}}


def kind_of(content_type: str, body: bytes, model: LoadedModel) -> Kind:
    """What a body is, from its Content-Type and, where clients send none or curl's default, from its start.

    Raises:
        InvalidInput: a Content-Type that no route reads.
    """
    essence = content_type.partition(";")[0].strip().lower()
    if essence in _BY_TYPE:
        return _BY_TYPE[essence]
    if essence.startswith("image/"):
        return "image"
    if essence in _UNTYPED:
        if body.lstrip()[:1] in {b"{", b"["}:
            return "json"
        if isinstance(model.spec.preprocessing, ImagePreprocessing):
            return "image"
        return "form" if model.tokenizer is not None and body.startswith(b"text=") else "text"
    raise InvalidInput(f"Content-Type {essence!r} is not read; {how_to_send(model)}")


def parse_media(kind: Kind, content_type: str, body: bytes, model: LoadedModel) -> dict[str, Array]:
    """Tensors of a body that is not JSON.

    Raises:
        InvalidInput: not what the Content-Type says, or not what the model takes.
    """
    if kind == "tensor":
        return _raw_tensor(body, model)
    step = model.spec.preprocessing
    if step is None or kind not in _FITS[step.kind]:
        raise InvalidInput(f"the body was read as {_NAMES[kind]}; {how_to_send(model)}")
    try:
        return {step.input: _instances(kind, content_type, body, model)}
    except WrongFormat as error:
        raise InvalidInput(f"{error}; {how_to_send(model)}") from error


def _instances(kind: Kind, content_type: str, body: bytes, model: LoadedModel) -> Array:
    """The images or texts of a body, one row each."""
    if kind == "multipart":
        parts = enumerate(_multipart(content_type, body), start=1)
        return stack([_part(data, number, model) for number, data in parts])
    if kind == "form":
        texts = parse_qs(utf8(body), keep_blank_values=True)["text"]
        return stack([model.instance_from_text(text) for text in texts])
    return instance(body, model)[np.newaxis]


def _part(data: bytes, number: int, model: LoadedModel) -> Array:
    """One file or field of a form, counted from 1, as one instance."""
    try:
        return instance(data, model)
    except InvalidInput as error:
        raise type(error)(f"part {number} of the form: {error}") from error


def _raw_tensor(body: bytes, model: LoadedModel) -> dict[str, Array]:
    """One or more rows of the single fixed-shape input, little-endian, one after the other."""
    tensor = model.spec.inputs[0]
    if len(model.spec.inputs) != 1 or tensor.is_variable:
        raise InvalidInput(f"raw bytes (application/octet-stream) need one input of fixed shape; {how_to_send(model)}")
    if len(body) % tensor.instance_bytes:
        raise InvalidInput(
            f"body of {len(body)} bytes is no whole number of instances of {tensor.in_words}, "
            f"{tensor.instance_bytes} bytes each"
        )
    return {tensor.name: np.frombuffer(body, dtype=tensor.wire_dtype).reshape(-1, *tensor.shape)}


def _multipart(content_type: str, body: bytes) -> list[bytes]:
    """Contents of the files and fields of a form, in order."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidInput("Content-Type multipart/form-data names no boundary; let the HTTP client write that header")
    parts: list[bytes] = []

    def on_field(field: Any) -> None:
        parts.append(field.value or b"")

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        parts.append(file.file_object.read())
        file.close()

    ended: list[bool] = []
    try:
        parser = FormParser(
            "multipart/form-data",
            on_field,
            on_file,
            on_end=lambda: ended.append(True),
            boundary=boundary,
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},  # the body is in memory already; no temporary files
        )
        parser.write(body)
        parser.finalize()
    except Exception as error:
        raise InvalidInput(f"body is not valid multipart/form-data: {error}") from error
    if not ended:
        raise InvalidInput("multipart/form-data is truncated: its closing boundary is missing")
    if not parts:
        raise InvalidInput("multipart/form-data holds no file and no field")
    return parts
