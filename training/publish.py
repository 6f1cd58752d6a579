"""Publish a model version: everything into a temporary sibling, checked, synced, then one rename.

A reader of the repository sees either no version or a whole one, whatever kills the writer and when. The temporary
directory's name starts with a dot and is no integer, so no server takes it for a version; its writer holds a lock
on it, so that a later publisher can tell a dead one's leavings from a living one's work.
"""

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import Golden, RawSample
from app.contract.manifest import verify_manifest, write_manifest
from app.contract.model_spec import ONNX_FILE, ModelSpec, TextPreprocessing
from app.contract.tokenizer import Tokenizer
from training import export
from training.golden_rows import TOLERANCE, golden_rows, keras_answers
from training.parity import check_parity
from training.triton_config import CONFIG_FILE, triton_config

if TYPE_CHECKING:
    import tf_keras

__all__ = ["Version", "golden_rows", "publish"]

TEMPORARY_PREFIX = ".publishing-"


@dataclass(frozen=True, kw_only=True)
class Version:
    """All that a version directory is made from.

    Attributes:
        model: trained Keras model that takes the spec's raw inputs.
        spec: becomes model.json; ``opset`` should be ``training.export.OPSET``.
        golden_inputs: input name -> (rows, *shape), at least 64 rows, padded with 0 where the length varies.
        golden_lengths: input name -> int32 (rows,), for inputs of variable length only.
        raw: encoded samples with the label that Keras gives them.
        tokenizer: for text models, written as vocabulary.txt.
        metrics: becomes metrics.json, with the measured parity under ``export``.
        baseline: becomes baseline.json.
        card: becomes card.md.
    """

    model: "tf_keras.Model"
    spec: ModelSpec
    golden_inputs: Mapping[str, npt.NDArray[Any]]
    golden_lengths: Mapping[str, npt.NDArray[Any]]
    raw: tuple[RawSample, ...]
    tokenizer: Tokenizer | None
    metrics: Mapping[str, Any]
    baseline: Mapping[str, Any]
    card: str


def publish(version: Version, *, repository: Path) -> Path:
    """Write the next version of the model and return its directory.

    Args:
        version: what to publish.
        repository: directory of all models; ``repository/NAME/N`` is written, N one above the highest there is,
            and ``repository/NAME/config.pbtxt`` replaced.

    Raises:
        ParityBroken, ExportFailed: the exported graphs do not give Keras's numbers, or cannot be made.
        VersionRefused: the version breaks the on-disk contract that the service checks.
        OSError: the disk. In every case, and on Ctrl-C, nothing but existing versions is left behind.
    """
    parent = repository / version.spec.name
    with _parent_directory(parent), _temporary(parent) as temporary:
        directory = temporary / "version"
        directory.mkdir()
        _write_version(version, directory)
        _write_text(temporary / CONFIG_FILE, triton_config(version.spec))
        _settle(temporary)
        target = _claim(directory, parent)
        os.replace(temporary / CONFIG_FILE, parent / CONFIG_FILE)
        _sync(parent)
    return target


def _write_version(version: Version, directory: Path) -> None:
    """Write every file of the version, the manifest last, and read back what the service will read."""
    spec = version.spec
    keras = export.keras_runner(version.model, spec)
    export.export_saved_model(version.model, spec, directory)
    export.export_onnx(version.model, spec, directory / ONNX_FILE)
    golden = Golden(
        inputs=version.golden_inputs,
        lengths=version.golden_lengths,
        outputs=keras_answers(keras, version.golden_inputs, version.golden_lengths),
        tolerance=TOLERANCE,
        raw=version.raw,
    )
    parity = check_parity(
        spec.name,
        golden,
        keras=keras,
        saved_model=export.saved_model_runner(directory, spec),
        onnx=export.onnx_runner(directory / ONNX_FILE, spec),
    )
    spec.write(directory)
    golden.write(directory)
    if version.tokenizer is not None and isinstance(spec.preprocessing, TextPreprocessing):
        version.tokenizer.write(directory / spec.preprocessing.vocabulary)
    exported = {"parity": parity, "opset": spec.opset, "frameworks": export.framework_versions()}
    _write_text(directory / "metrics.json", _json({**version.metrics, "export": exported}))
    _write_text(directory / "baseline.json", _json(version.baseline))
    _write_text(directory / "card.md", version.card)
    write_manifest(directory)
    verify_manifest(directory)
    ModelSpec.read(directory)
    Golden.read(directory)


def _claim(directory: Path, parent: Path) -> Path:
    """Rename ``directory`` to the next free version number. A rename onto a version fails, so none is overwritten."""
    while True:
        taken = [int(path.name) for path in parent.iterdir() if path.name.isdecimal() and path.name.isascii()]
        target = parent / str(max(taken, default=0) + 1)
        try:
            os.rename(directory, target)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR}:
                raise
        else:
            return target


@contextmanager
def _parent_directory(parent: Path) -> Iterator[None]:
    """Make the model's directory, and take it away again if nothing came of it."""
    parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # holds versions, or another publisher's work
            parent.rmdir()
        raise


@contextmanager
def _temporary(parent: Path) -> Iterator[Path]:
    """A locked directory beside the versions, gone afterwards; leavings of killed publishers go first."""
    for leaving in parent.glob(f"{TEMPORARY_PREFIX}*"):
        _remove_if_dead(leaving)
    path, lock = _locked_directory(parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked_directory(parent: Path) -> tuple[Path, int]:
    """Create and lock a directory; again if another publisher took it for a leaving before the lock was held."""
    while True:
        path = parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        path.mkdir(parents=True)
        lock = -1
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return path, lock
            os.close(lock)
        except FileNotFoundError:
            if lock >= 0:
                os.close(lock)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise


def _remove_if_dead(leaving: Path) -> None:
    """Delete a temporary directory that no living process holds the lock of."""
    with suppress(FileNotFoundError):
        lock = os.open(leaving, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(leaving, ignore_errors=True)
        except BlockingIOError:
            pass  # its publisher is at work
        finally:
            os.close(lock)


def _settle(directory: Path) -> None:
    """Give everything below ``directory`` the usual permissions and force it to the disk, leaves first."""
    for root, _, files in os.walk(directory, topdown=False):
        for name in files:
            path = Path(root, name)
            path.chmod(0o644)
            _sync(path)
        Path(root).chmod(0o755)
        _sync(Path(root))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _json(document: Mapping[str, Any]) -> str:
    """Readable JSON without NaN; numpy numbers and arrays become plain ones."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} does not go into JSON")

    return json.dumps(document, indent=2, allow_nan=False, default=plain, ensure_ascii=False) + "\n"
