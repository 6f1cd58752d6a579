"""Opens a model with the library that it belongs to."""

from pathlib import Path

from training import environment
from training.errors import SourceRefused
from training.importing.guards import kind_of
from training.importing.sources.source import Source


def open_source(path: Path, *, signature: str | None = None, allow_code: bool = False) -> Source:
    """The model in a file or directory.

    Args:
        path: a .keras, .h5 or .onnx file, or a SavedModel directory.
        signature: of a SavedModel.
        allow_code: run code that the file contains.

    Raises:
        SourceRefused: it is not a model, contains code, or its library cannot read it.
    """
    kind = kind_of(path)
    if signature is not None and kind != "saved_model":
        raise SourceRefused(f"--signature requires a SavedModel directory; {path} is not one")
    environment.quiet_tensorflow()
    if kind == "onnx":
        from training.importing.sources.onnx_model import OnnxSource

        return OnnxSource(path)
    if kind == "saved_model":
        from training.importing.sources.saved_model import SavedModelSource

        return SavedModelSource(path, signature, allow_code=allow_code)
    from training.importing.sources.keras_model import KerasSource

    return KerasSource(path, kind, allow_code=allow_code)
