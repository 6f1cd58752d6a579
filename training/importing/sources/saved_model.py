"""A SavedModel of TensorFlow, written by any tool."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.contract.files.regular import shown
from app.contract.files.tree import walk
from app.contract.graph_facts import GraphFacts, TensorFacts
from app.contract.model_spec import SAVED_MODEL_FILE, ModelSpec
from app.types import Tensors
from training.errors import SourceRefused
from training.export.converting import quiet
from training.export.saved_model import load_saved_model
from training.importing.entrance import Entrance
from training.importing.guards import check_ops
from training.importing.sources.source import TensorFlowSource, in_short

SIGNATURE = "serving_default"
_PARTS = ("variables", "assets", "assets.extra")


class SavedModelSource(TensorFlowSource):
    """One signature of a SavedModel.

    Args:
        path: directory with saved_model.pb.
        signature: None takes ``serving_default``, or the only one.
        allow_code: run it even if it has operations that reach beyond tensors.

    Raises:
        SourceRefused: TensorFlow cannot load it, it has no such signature, or see ``guards.check_ops``.
    """

    kind = "SavedModel"

    def __init__(self, path: Path, signature: str | None, *, allow_code: bool) -> None:
        import tensorflow as tf

        self.path = path
        check_ops(path, _ops(path), allow_code=allow_code)
        try:
            with quiet(), tf.device("/CPU:0"):
                self._loaded = load_saved_model(path)
        except Exception as error:
            raise SourceRefused(f"{shown(path)}: TensorFlow cannot load it: {in_short(error)}") from error
        self.signature = _signature(path, sorted(self._loaded.signatures), signature)
        self._function = self._loaded.signatures[self.signature]
        self.facts = GraphFacts(
            _facts(path, self._function.structured_input_signature[1]),
            _facts(path, self._function.structured_outputs),
        )

    def run(self, inputs: Tensors) -> Tensors:
        """The signature, in TensorFlow."""
        import tensorflow as tf

        specs = self._function.structured_input_signature[1]
        with tf.device("/CPU:0"):
            answers = self._function(
                **{name: tf.constant(values, specs[name].dtype) for name, values in inputs.items()}
            )
        return {name: tensor.numpy() for name, tensor in answers.items()}

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """See ``TensorFlowSource``."""
        return dict(self._function(**inputs))

    def kept(self, function: Any) -> list[dict[str, Any]]:
        """All of it: variables and tables."""
        return [{"loaded": self._loaded}]

    def write_saved_model(self, spec: ModelSpec, entrance: Entrance | None, directory: Path) -> None:
        """A copy of its files, unless its inputs or its signature differ from those of the version."""
        if entrance is not None or self.signature != SIGNATURE:
            return super().write_saved_model(spec, entrance, directory)
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.path / SAVED_MODEL_FILE, directory / SAVED_MODEL_FILE)
        for part in _PARTS:
            if not (self.path / part).is_dir():
                continue
            for entry in walk(self.path / part):
                target = directory / part / entry.name
                if not entry.is_directory:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(self.path / part / entry.name, target)
        return None


def _ops(path: Path) -> Iterator[tuple[str, str]]:
    """Operation and node of all graphs and functions, without loading them.

    Raises:
        SourceRefused: it is not a SavedModel.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((path / SAVED_MODEL_FILE).read_bytes())
    except DecodeError as error:
        raise SourceRefused(f"{shown(path / SAVED_MODEL_FILE)} is damaged: {error}") from error
    if not saved.meta_graphs:
        raise SourceRefused(f"{shown(path / SAVED_MODEL_FILE)} contains no graph")
    for graph in saved.meta_graphs:
        for node in graph.graph_def.node:
            yield node.op, node.name
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                yield node.op, f"{function.signature.name}/{node.name}"


def _signature(path: Path, found: list[str], asked: str | None) -> str:
    if asked is None:
        asked = found[0] if len(found) == 1 else SIGNATURE
    if asked not in found:
        hint = "; choose one with --signature" if found else "; export the model with model.export()"
        raise SourceRefused(f"{shown(path)} has no signature {asked!r}; it has {found or 'none'}{hint}")
    return asked


def _facts(path: Path, tensors: dict[str, Any]) -> tuple[TensorFacts, ...]:
    facts = []
    for name, tensor in tensors.items():
        if tensor.shape.rank is None:
            raise SourceRefused(f"{shown(path)}: the shape of {name!r} has no known rank; export it with a signature")
        facts.append(TensorFacts(name, tensor.dtype.name, tuple(tensor.shape.as_list())))
    return tuple(facts)
