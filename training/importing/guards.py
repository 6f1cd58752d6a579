"""Checks of a file before a library reads it: its kind, its size, and whether it contains code.

A Keras file may contain Python code (a Lambda layer), and name modules and functions to be imported. A SavedModel is a
program for TensorFlow, which may read and write files. Neither is run here. It is not a sandbox: import files that you
do not trust in a container.
"""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.contract.files.regular import shown
from app.contract.files.tree import walk
from app.contract.model_spec import SAVED_MODEL_FILE
from app.errors import VersionRefused
from training.errors import SourceRefused

# Of a file; the weights of a SavedModel count together. protobuf reads no more than 2 GiB of a message.
LIMIT_BYTES = 8 * 2**30
MESSAGE_LIMIT_BYTES = 2 * 2**30 - 1
CONFIG_LIMIT_BYTES = 64 * 2**20

CONFIG_FILE, METADATA_FILE = "config.json", "metadata.json"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"

_LIBRARIES = frozenset({"keras", "tf_keras"})
# Parts of Keras with functions of tensors; others, such as keras.utils, download and read files.
_OF_TENSORS = frozenset(
    {"activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers", "backend"}
)
_CODE = frozenset({"Lambda", "__lambda__"})
# Layers of tf-keras that call any function of TensorFlow by its name; these parts of it reach beyond tensors.
_CALLS = frozenset({"TFOpLambda", "SlicingOpLambda"})
_BEYOND_TENSORS = ("io.", "raw_ops.", "py_function", "numpy_function", "load_", "train.", "saved_model.", "summary.")
# Operations that reach beyond the tensors of a graph. Those of TensorFlow's own checkpoints are in every SavedModel.
FORBIDDEN_OPS = frozenset(
    {"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc", "WholeFileReaderV2"}
)


def kind_of(path: Path) -> str:
    """``keras``, ``h5``, ``saved_model`` or ``onnx``, by the content of a file and only then by its name.

    Raises:
        SourceRefused: it does not exist, is too large, or has another format.
    """
    try:
        if path.is_dir():
            return _kind_of_directory(path)
        size = path.stat().st_size
        if not path.is_file():
            raise SourceRefused(f"{shown(path)} is neither a file nor a directory")
        with path.open("rb") as file:
            start = file.read(len(_HDF5))
    except OSError as error:
        raise SourceRefused(f"{shown(path)}: {error.strerror}") from error
    _check_size(path, size, LIMIT_BYTES)
    if start.startswith(_HDF5):
        return "h5"
    if start.startswith(_ZIP):
        return "keras"
    if path.suffix == ".onnx":
        _check_size(path, size, MESSAGE_LIMIT_BYTES)
        return "onnx"
    expected = {".keras": "a zip archive", ".h5": "an HDF5 file", ".hdf5": "an HDF5 file"}.get(path.suffix)
    if expected:
        raise SourceRefused(f"{shown(path)} is not {expected}, so it is not a model that Keras saved")
    raise SourceRefused(
        f"{shown(path)} is not a model: expected a .keras or .h5 file, a SavedModel directory, or an .onnx file"
    )


def _kind_of_directory(path: Path) -> str:
    file = path / SAVED_MODEL_FILE
    if not file.is_file():
        raise SourceRefused(f"{shown(path)} is not a SavedModel: it has no {SAVED_MODEL_FILE}")
    _check_size(file, file.stat().st_size, MESSAGE_LIMIT_BYTES)
    try:
        total = sum(entry.status.st_size for entry in walk(path) if not entry.is_directory)
    except VersionRefused as error:
        raise SourceRefused(str(error)) from error
    _check_size(path, total, LIMIT_BYTES)
    return "saved_model"


def _check_size(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise SourceRefused(f"{shown(path)} has {size} bytes; at most {limit} bytes are read")
    if size == 0:
        raise SourceRefused(f"{shown(path)} is empty")


def archive_documents(path: Path) -> tuple[dict[str, Any], str]:
    """Configuration and Keras version of a .keras file.

    Raises:
        SourceRefused: it is damaged, unpacks to too much, or is not a model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            _check_size(path, unpacked, LIMIT_BYTES)
            names = set(archive.namelist())
            if not {CONFIG_FILE, METADATA_FILE} <= names:
                raise SourceRefused(
                    f"{shown(path)} is a zip archive without {CONFIG_FILE} and {METADATA_FILE} of Keras"
                )
            config, metadata = (_member(archive, name, path) for name in (CONFIG_FILE, METADATA_FILE))
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        # The last two are zipfile's: a compression that it does not know, and a member that is encrypted.
        raise SourceRefused(f"{shown(path)} is damaged: {error}") from error
    return config, str(metadata.get("keras_version", "3"))


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    if archive.getinfo(name).file_size > CONFIG_LIMIT_BYTES:
        raise SourceRefused(f"{shown(path)}: {name} has more than {CONFIG_LIMIT_BYTES} bytes")
    return _document(archive.read(name), f"{shown(path)}: {name}")


def hdf5_documents(path: Path) -> tuple[dict[str, Any], str]:
    """Configuration and Keras version of an .h5 file.

    Raises:
        SourceRefused: it is damaged, or contains weights alone or something else.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = file.attrs
            if "model_config" not in attributes:
                what = "weights alone" if "layer_names" in attributes or "layers" in file else "no model of Keras"
                raise SourceRefused(
                    f"{shown(path)} is an HDF5 file with {what}: it has no model_config; save the whole model with "
                    "model.save()"
                )
            config, version = attributes["model_config"], attributes.get("keras_version", "2")
    except OSError as error:
        raise SourceRefused(f"{shown(path)} is damaged: {error}") from error
    text = config if isinstance(config, bytes) else str(config).encode()
    version = version.decode() if isinstance(version, bytes) else str(version)
    return _document(text, f"{shown(path)}: model_config"), version


def _document(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceRefused(f"{what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SourceRefused(f"{what} is not a JSON object")
    return document


def check_config(path: Path, config: Mapping[str, Any], *, allow_code: bool) -> None:
    """Refuse a configuration that contains or names code outside Keras.

    Args:
        path: of the model, for messages.
        config: as in config.json; what Keras does not read for inference (``compile_config``) is not searched.
        allow_code: accept it nevertheless.

    Raises:
        SourceRefused: names the layer.
    """
    if allow_code:
        return
    for found in _objects({key: value for key, value in config.items() if key != "compile_config"}):
        if reason := _reason(found):
            inner = found.get("config")
            name = inner.get("name") if isinstance(inner, dict) else None
            layer = f"layer {str(name)[:100]!r}" if name else "its configuration"
            raise SourceRefused(
                f"{shown(path)}: {layer} {reason}; --allow-code runs it, with all rights that you have: use it only "
                "for files that you trust"
            )


def _reason(found: Mapping[str, Any]) -> str:
    """Why an object of a configuration may run code; empty if it does not."""
    name, module, inner = found["class_name"], found.get("module"), found.get("config")
    if name in _CODE:
        return "is Python code in the file (Lambda)"
    if name in _CALLS:
        called = str(inner.get("function", "")) if isinstance(inner, dict) else ""
        return f"calls tf.{called[:100]}" if any(each in called for each in _BEYOND_TENSORS) else ""
    parts = str(module).split(".")
    if name == "function" and parts[0] in _LIBRARIES and not _OF_TENSORS & set(parts[1:3]):
        return f"calls {str(module)[:100]}.{str(inner)[:100]}"
    if module is not None and str(module).partition(".")[0] not in _LIBRARIES:
        return f"requires {str(module)[:100]}.{str(inner if name == 'function' else name)[:100]}, which is not in Keras"
    return ""


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a configuration that names a class; iterative, since files may be nested deeply."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict):
            if isinstance(here.get("class_name"), str):
                yield here
            waiting += here.values()
        elif isinstance(here, list):
            waiting += here


def check_ops(path: Path, ops: Iterator[tuple[str, str]], *, allow_code: bool) -> None:
    """Refuse operations that reach beyond tensors.

    Args:
        path: of the model, for messages.
        ops: operation and node.
        allow_code: accept them nevertheless.

    Raises:
        SourceRefused: names the first one.
    """
    if allow_code:
        return
    for op, node in ops:
        if op in FORBIDDEN_OPS:
            raise SourceRefused(
                f"{shown(path)}: the operation {op} ({node[:200]}) reads or writes files, or calls Python; "
                "--allow-code runs it, with all rights that you have: use it only for files that you trust"
            )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a directory."""
    if path.is_dir():
        return sum(entry.status.st_size for entry in walk(path) if not entry.is_directory)
    return os.path.getsize(path)
