"""A model that a command loads and asks, without a running service."""

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.shared import fail
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.edge.codec.encoded import Inputs
    from app.loaded import LoadedModel
    from app.types import Tensors

FileOrText = Annotated[
    str, typer.Argument(help="An image file, a text file, a .json file as for :predict, or the text itself.")
]
JSON_FALLBACK_LIMIT_BYTES = 64 * 2**20


@asynccontextmanager
async def opened(settings: Settings, name: str, version: int | None) -> "AsyncIterator[LoadedModel]":
    """A version, or the default one, loaded until the block ends. Raises what its load raises."""
    from app.lifecycle.draining import drain
    from app.telemetry.metrics import Metrics
    from app.wiring.assembly import build_lifecycle

    lifecycle = build_lifecycle(settings, Metrics())
    await lifecycle.load_one(name, version)
    try:
        yield lifecycle.registry.get(name, version)
    finally:
        await drain(lifecycle.registry, 0)


def inputs_of(model: "LoadedModel", file_or_text: str) -> "tuple[Inputs, Tensors]":
    """The inputs that an argument gives, as sent and decoded: an image file, a text file, a .json file, or a text.

    Raises:
        InvalidInput: the model does not take them.
    """
    from app.contract.tokenizer import text_from_bytes
    from app.edge.codec.encoded import Encoded, decode
    from app.edge.codec.json_tensor import JsonReader
    from app.edge.rest.tfs import parse_predict

    path = Path(file_or_text)
    data = path.read_bytes() if _is_file(path) else None
    inputs: Inputs
    if data is not None and path.suffix.lower() == ".json":
        document = JsonReader(fallback_limit_bytes=JSON_FALLBACK_LIMIT_BYTES).read(data)
        inputs, _ = parse_predict(document, model)
    elif model.tokenizer is not None:
        if data is None and not any(map(str.isspace, file_or_text)):
            typer.echo(f"there is no file {file_or_text!r}; it is read as text", err=True)
        inputs = {model.input_for_media(): Encoded([file_or_text if data is None else text_from_bytes(data)])}
    elif data is None:
        takes = "an image file" if model.spec.preprocessing is not None else "a .json file"
        fail(f"there is no file {file_or_text!r}; model {model.name!r} takes {takes}")
    else:
        inputs = {model.input_for_media(): Encoded([data])}
    tensors = {name: decode(each, model) if isinstance(each, Encoded) else each for name, each in inputs.items()}
    return inputs, tensors


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a sentence is longer than a file name may be
        return False
