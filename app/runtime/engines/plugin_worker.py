"""The process of a backend or a transform of an installed package: ``... plugin_worker KIND NAME DIRECTORY THREADS``.

``worker_loop`` documents the protocol with the service.
"""

import operator
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from app.contract.bfloat16 import BFLOAT16
from app.contract.graph_facts import SIGNATURE
from app.errors import ServingError
from app.runtime.engines.worker_loop import CannotLoad, Run, serve
from app.types import Array, Tensors

GROUPS = {"backend": "atelier.backends", "transform": "atelier.transforms"}

# Name -> element type, and sizes with the batch; a size that varies is None.
Signature = Mapping[str, tuple[str, Sequence[int | None]]]


class Model(Protocol):
    """What the entry point of a backend returns, called with the directory of a version and a number of threads."""

    inputs: Signature
    outputs: Signature

    def run(self, inputs: Tensors) -> Mapping[str, Array]:
        """Outputs of a batch: name -> (rows, *shape); row i answers row i of the inputs."""
        ...


def main() -> None:
    """Load, then answer until the socket closes."""
    kind, name, directory, threads = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    serve(lambda: load(kind, name, directory, threads))
    os._exit(0)


def load(kind: str, name: str, directory: Path, threads: int) -> tuple[dict[str, Any], Run]:
    """Load a version with the entry point of that name.

    Args:
        kind: a key of ``GROUPS``.
        name: of the entry point.
        directory: holds the files of the version.
        threads: that it may use.

    Returns:
        As ``savedmodel_worker.load``; in place of "optional", "utf8" lists inputs whose strings must be UTF-8.

    Raises:
        CannotLoad: no such entry point, or several, or the returned object is not a model or not a transform.
    """
    group = GROUPS[kind]
    found = list(entry_points(group=group, name=name))
    if len(found) != 1:
        raise CannotLoad(f"{len(found) or 'no'} installed packages have the entry point {name!r} of {group}")
    model = _model(kind, found[0], directory, threads)
    try:
        signature: dict[str, Any] = {"inputs": _described(model.inputs), "outputs": _described(model.outputs)}
    except (AttributeError, TypeError, ValueError) as error:
        raise CannotLoad(f"{found[0].value} returns no {kind}: {error}") from error

    if odd := [each for each, (element, _) in signature["outputs"].items() if element == BFLOAT16]:
        raise CannotLoad(f"output {odd[0]!r} is a {BFLOAT16}, which NumPy does not have; state float32")
    if kind == "transform":
        signature["utf8"] = list(getattr(model, "utf8", ()))

    def run(_: dict[str, Any], inputs: Tensors) -> dict[str, Array]:
        outputs = model.run(inputs)
        return {each: _checked(each, outputs, *signature["outputs"][each]) for each in signature["outputs"]}

    return {SIGNATURE: signature}, run


def _model(kind: str, entry_point: EntryPoint, directory: Path, threads: int) -> Model:
    if kind == "backend":
        made: Model = entry_point.load()(directory, threads)
        return made
    from app.runtime.engines.transformed_graph import TransformedGraph  # a backend does not need ONNX Runtime

    try:
        return TransformedGraph(entry_point.load()(directory), entry_point.value, directory, threads)
    except ServingError as error:
        raise CannotLoad(error.message) from error


def _described(tensors: Signature) -> dict[str, tuple[str, list[int | None]]]:
    """A signature as JSON. Raises ValueError: a size is neither None nor a whole number from 1."""
    found: dict[str, tuple[str, list[int | None]]] = {}
    for name, (element, sizes) in tensors.items():
        found[str(name)] = str(element), [None if size is None else operator.index(size) for size in sizes]
        if odd := [size for size in found[str(name)][1] if size is not None and size < 1]:
            raise ValueError(f"{name!r} has the size {odd[0]}; a size is a whole number from 1, or None if it varies")
    return found


def _checked(name: str, outputs: Mapping[str, Array], element: str, sizes: Sequence[int | None]) -> Array:
    """An output as the signature states it."""
    if name not in outputs:
        raise ValueError(f"output {name!r} is missing; it returns {sorted(outputs)}")
    values = np.asarray(outputs[name])
    is_right = values.dtype.kind in "OSU" if element == "string" else values.dtype == np.dtype(element)
    fits = len(values.shape) == len(sizes) and all(
        want in {None, got} for want, got in zip(sizes, values.shape, strict=True)
    )
    if not is_right or not fits:
        raise ValueError(
            f"output {name!r} is {values.dtype} of shape {list(values.shape)}; the signature states {element} of shape "
            f"{list(sizes)}"
        )
    return _strings(name, values) if element == "string" else values


def _strings(name: str, values: Array) -> Array:
    """Strings as the service exchanges them: bytes, in UTF-8."""
    found = np.empty(values.size, object)
    for index, value in enumerate(values.ravel().tolist()):
        if not isinstance(value, str | bytes):
            raise ValueError(f"output {name!r} has a {type(value).__name__} among its strings")
        found[index] = value.encode() if isinstance(value, str) else value
    return found.reshape(values.shape)


if __name__ == "__main__":
    main()
