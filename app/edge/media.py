"""Bodies that are no JSON: images, plain text, forms with files, raw tensors."""

from typing import Any, Literal
from urllib.parse import parse_qs

import numpy as np
from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from app.contract.model_spec import ImagePreprocessing
from app.edge.v1 import stack, utf8
from app.errors import InvalidInput
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
    raise InvalidInput(
        f"Content-Type {essence!r} is not read; send application/json, image/*, text/plain, "
        f"multipart/form-data or application/octet-stream"
    )


def parse_media(kind: Kind, content_type: str, body: bytes, model: LoadedModel) -> dict[str, Array]:
    """Tensors of a body that is not JSON.

    Raises:
        InvalidInput: not what the Content-Type says, or not what the model takes.
    """
    if kind == "tensor":
        return _raw_tensor(body, model)
    if kind == "multipart":
        rows = [_part(data, filename, model) for data, filename in _multipart(content_type, body)]
        return {model.input_for_media(): stack(rows)}
    if kind == "image":
        return {model.input_for_media(): model.instance_from_image(body)[np.newaxis]}
    if kind == "form":
        fields = parse_qs(utf8(body, "form"), keep_blank_values=True)
        return {model.input_for_media(): stack([model.instance_from_text(text) for text in fields["text"]])}
    return {model.input_for_media(): model.instance_from_text(utf8(body, "text"))[np.newaxis]}


def _raw_tensor(body: bytes, model: LoadedModel) -> dict[str, Array]:
    """One or more rows of the single fixed-shape input, little-endian, one after the other."""
    if len(model.spec.inputs) != 1 or model.spec.inputs[0].is_variable:
        raise InvalidInput(
            f"application/octet-stream wants a model with one input of fixed shape; {model.what_it_takes()}"
        )
    tensor = model.spec.inputs[0]
    dtype = tensor.numpy_dtype.newbyteorder("<")
    row_bytes = dtype.itemsize * int(np.prod(tensor.shape))
    if not body or len(body) % row_bytes:
        raise InvalidInput(
            f"body of {len(body)} bytes is no whole number of instances of {row_bytes} bytes "
            f"({tensor.name!r} {tensor.dtype} {tensor.shape})"
        )
    values = np.frombuffer(body, dtype=dtype).reshape(-1, *tensor.shape)
    return {tensor.name: values.astype(tensor.numpy_dtype, copy=False)}


def _part(data: bytes, filename: bool, model: LoadedModel) -> Array:
    """One file or field of a form as one instance."""
    if model.tokenizer is not None:
        return model.instance_from_text(utf8(data, "file" if filename else "field"))
    return model.instance_from_image(data)


def _multipart(content_type: str, body: bytes) -> list[tuple[bytes, bool]]:
    """Parts of a form in order: contents, and whether it is a file."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidInput("multipart/form-data without a boundary in its Content-Type")
    parts: list[tuple[bytes, bool]] = []

    def on_field(field: Any) -> None:
        parts.append((field.value or b"", False))

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        parts.append((file.file_object.read(), True))
        file.close()

    ended: list[bool] = []
    parser = FormParser(
        "multipart/form-data",
        on_field,
        on_file,
        on_end=lambda: ended.append(True),
        boundary=boundary,
        config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},  # the body is in memory already; no temporary files
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise InvalidInput(f"body is not valid multipart/form-data: {error}") from error
    if not ended:
        raise InvalidInput("multipart/form-data is truncated: its closing boundary is missing")
    if not parts:
        raise InvalidInput("multipart/form-data holds no file and no field")
    return parts
