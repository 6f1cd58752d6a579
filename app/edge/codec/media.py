"""Bodies other than JSON: images, plain text, forms with files, raw tensors."""

from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import parse_qs

from python_multipart import FormParser
from python_multipart.multipart import parse_options_header

from app.contract.steps import ImagePreprocessing
from app.contract.tokenizer import text_from_bytes
from app.edge.codec.encoded import Encoded
from app.edge.codec.hints import how_to_send
from app.edge.codec.strings import as_bytes
from app.errors import InvalidInput, ServingError, TooLarge, WrongFormat, quoted
from app.loaded import LoadedModel
from app.types import Array

Kind = Literal["json", "image", "text", "multipart", "form", "tensor"]

_BY_TYPE: dict[str, Kind] = {
    "application/json": "json",
    "text/json": "json",
    "text/plain": "text",
    "multipart/form-data": "multipart",
    "application/octet-stream": "tensor",
}
# Larger bodies are parsed in a thread of the pool, so that they do not delay other requests. An image or a text is not
# parsed, only decoded.
INLINE_BYTES = {"json": 65_536, "tensor": 65_536, "form": 16_384, "multipart": 4_096}
# Each becomes an object of Python in JSON that is not one array of numbers; one of named values takes 4 us.
INLINE_PARTS = {b"{": 64, b"[": 2_048, b'"': 2_048}
FEW_BYTES = 512
# Bytes of a form that are read between two checks of the deadline.
PIECE_BYTES = 65_536
_UNTYPED = {"", "application/x-www-form-urlencoded", "*/*"}
_NAMES: dict[Kind, str] = {"image": "an image", "text": "text", "multipart": "a form", "form": "a form"}
_FITS: dict[str, set[Kind]] = {"image": {"image", "multipart"}, "text": {"text", "multipart", "form"}}


def kind_of(content_type: str, body: bytes, model: LoadedModel) -> Kind:
    """The kind of a body, from its Content-Type, or from its first bytes if that is missing or is curl's default.

    Raises:
        InvalidInput: an unsupported Content-Type.
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
    raise InvalidInput(f"Content-Type {quoted(essence)} is not read; {how_to_send(model)}")


def costs_less_than_a_thread(kind: Kind, body: bytes) -> bool:
    """Whether to parse a body costs less than a thread hop. Tensors in shared memory may have any size."""
    most = INLINE_BYTES.get(kind)
    if most is None:
        return True
    if len(body) > most or b"shared_memory_region" in body:
        return False
    if kind != "json" or len(body) <= FEW_BYTES:
        return True
    return all(body.count(part) <= count for part, count in INLINE_PARTS.items())


def parse_media(
    kind: Kind, content_type: str, body: bytes, model: LoadedModel, *, check: Callable[[], None]
) -> dict[str, Array | Encoded]:
    """Tensors, images or texts of a body that is not JSON.

    Args:
        kind, content_type, body: as sent.
        model: the model that receives them.
        check: called between the pieces of a long body; raises when the client no longer waits.

    Raises:
        InvalidInput: does not match the Content-Type, or the model does not accept it.
    """
    text = model.spec.body_string
    if text is not None:
        parts = _multipart(content_type, body, check) if kind == "multipart" else [body]
        return {text.name: text.string_rows(as_bytes(parts, "the form"))}
    if kind == "tensor":
        return _raw_tensor(body, model)
    step = model.spec.preprocessing
    if step is None or kind not in _FITS[step.kind]:
        raise InvalidInput(f"the body was read as {_NAMES[kind]}; {how_to_send(model)}")
    how = how_to_send(model)
    if kind == "multipart":
        parts = _multipart(content_type, body, check)
        return {step.input: Encoded(parts, place=lambda index: f"part {index + 1} of the form", how=how)}
    items: list[bytes | str] = [body] if kind != "form" else [*_fields(body, model)]
    return {step.input: Encoded(items, how=how)}


def _fields(body: bytes, model: LoadedModel) -> list[str]:
    """The texts of a form: its fields with that name."""
    try:
        text = text_from_bytes(body)
    except WrongFormat as error:
        raise InvalidInput(f"{error}; {how_to_send(model)}") from error
    most = model.batching.max_queue_rows
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=most)["text"]
    except ValueError as error:
        raise TooLarge(f"the form has more than {most} fields; at most max_queue_rows={most} fit the queue") from error


def _raw_tensor(body: bytes, model: LoadedModel) -> dict[str, Array | Encoded]:
    """One or more rows of the only input, which has a fixed shape; little-endian, one row after the other."""
    tensor = model.spec.inputs[0]
    if len(model.spec.required) != 1 or tensor.is_variable or tensor.is_string:
        raise InvalidInput(f"raw bytes (application/octet-stream) need one input of fixed shape; {how_to_send(model)}")
    if len(body) % tensor.instance_bytes:
        raise InvalidInput(
            f"body of {len(body)} bytes is not a whole number of instances of {tensor.in_words}, "
            f"{tensor.instance_bytes} bytes each"
        )
    rows = tensor.from_bytes(body, (-1, *tensor.shape))
    if tensor.batched:
        return {tensor.name: rows}
    if len(rows) != 1:
        raise InvalidInput(f"body of {len(body)} bytes; {tensor.in_words} has {tensor.instance_bytes} bytes")
    return {tensor.name: rows[0]}


def _multipart(content_type: str, body: bytes, check: Callable[[], None]) -> list[bytes | str]:
    """Contents of the files and fields of a form, in order."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidInput("Content-Type multipart/form-data has no boundary; let the HTTP client write that header")
    parts: list[bytes | str] = []

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
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1},  # the body is already in memory; avoid temporary files
        )
        for start in range(0, len(body), PIECE_BYTES):
            check()
            parser.write(body[start : start + PIECE_BYTES])
        parser.finalize()
    except ServingError:  # the client no longer waits
        raise
    except Exception as error:
        raise InvalidInput(f"body is not valid multipart/form-data: {error}") from error
    if not ended:
        raise InvalidInput("multipart/form-data is truncated: its closing boundary is missing")
    if not parts:
        raise InvalidInput("multipart/form-data holds no file and no field")
    return parts
