"""A model that Keras 3 or tf-keras saved: a .keras or an .h5 file."""

import re
from collections.abc import Mapping, Sequence, Set
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any

from app.contract.files.regular import shown
from app.contract.graph_facts import GraphFacts, TensorFacts
from app.contract.model_spec import ModelSpec
from app.contract.steps import TextPreprocessing
from app.types import Tensors
from training.errors import SourceRefused
from training.export.converting import convert, quiet, write_onnx
from training.export.model_export import padded_input
from training.export.padding_check import padding_counts
from training.export.recurrent_cells import remembering
from training.export.recurrent_layers import fused_layers
from training.importing.entrance import Entrance
from training.importing.guards import archive_documents, check_config, check_ops, hdf5_documents
from training.importing.sources.source import TensorFlowSource, in_short

# Names that Keras gives to inputs without one.
_AUTOMATIC = re.compile(r"(keras_tensor|input_layer|inputs?)(_\d+)?")


class KerasSource(TensorFlowSource):
    """One Keras model.

    Args:
        path: a .keras or an .h5 file.
        kind: ``keras`` or ``h5``.
        allow_code: run code that the file contains.

    Raises:
        SourceRefused: it is not a model, contains code, keeps states between requests, or its library cannot read it.
    """

    def __init__(self, path: Path, kind: str, *, allow_code: bool) -> None:
        self.path = path
        config, version = archive_documents(path) if kind == "keras" else hdf5_documents(path)
        check_config(path, config, allow_code=allow_code)
        self._is_keras_3 = not version.startswith(("1.", "2."))
        self.kind = "Keras 3 model" if self._is_keras_3 else "tf-keras model"  # type: ignore[misc]
        self.model = _loaded(path, is_keras_3=self._is_keras_3, version=version, allow_code=allow_code)
        if not getattr(self.model, "inputs", None):
            raise SourceRefused(f"{shown(path)}: the model states no inputs; build it before it is saved")
        if reason := remembering(self.model):
            raise SourceRefused(f"{shown(path)}: {reason}, and save it again")
        self._input_names = _input_names(self.model)
        self._output_names = _output_names(self.model)
        self.facts = GraphFacts(
            tuple(map(_facts, self._input_names, self.model.inputs)),
            tuple(map(_facts, self._output_names, self.model.outputs)),
        )
        self._allow_code = allow_code
        if self._is_keras_3:
            self.packages = {"keras": distribution_version("keras")}

    def run(self, inputs: Tensors) -> Tensors:
        """Keras' own ``predict_on_batch``."""
        import numpy as np
        import tensorflow as tf

        with tf.device("/CPU:0"):
            tensors = {
                name: tf.constant(inputs[name], tensor.dtype)
                for name, tensor in zip(self._input_names, self.model.inputs, strict=True)
            }
            answers = self._by_name(self.model.predict_on_batch(self._arguments(tensors)))
        return {name: np.asarray(values) for name, values in answers.items()}

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """See ``TensorFlowSource``."""
        return self._by_name(self.model(self._arguments(inputs), training=False))

    def kept(self, function: Any) -> list[dict[str, Any]]:
        """The variables that are read; of a model with tables, all of it."""
        return [{"captured": list(function.get_concrete_function().graph.variables)}, {"model": self.model}]

    def traced(self, spec: ModelSpec, entrance: Entrance | None, *, device: str | None) -> Any:
        """See ``TensorFlowSource``; what is traced is checked like the graph of a SavedModel."""
        return self._checked(super().traced(spec, entrance, device=device), frozenset())

    def write_onnx(self, spec: ModelSpec, entrance: Entrance | None, path: Path) -> None:
        """See ``Source``. Recurrent layers become the fused operations, if they have that form."""
        function = super().traced(spec, entrance, device="/CPU:0")
        with fused_layers(self.model, ids=padded_input(spec)) as markers:
            self._checked(function, markers.nodes)
            proto = convert(function, spec, markers.handlers)
        write_onnx(proto, spec, path)

    def padding_counts(self, spec: ModelSpec) -> str:
        """See ``Source``."""
        step = spec.preprocessing
        if not isinstance(step, TextPreprocessing) or (largest := spec.input(step.input).maximum) is None:
            return ""
        return padding_counts(self.model, id_count=int(largest) + 1, longest=step.max_length, trained=True)

    def _checked(self, function: Any, made: Set[str]) -> Any:
        """The function after a check of its graph, but for the operations that its conversion puts into it."""
        graph = function.get_concrete_function().graph
        found = ((op.type, op.name) for op in graph.get_operations() if op.name not in made)
        check_ops(self.path, found, allow_code=self._allow_code)
        return function

    def _arguments(self, tensors: Mapping[str, Any]) -> Any:
        """The argument of the model's call, in the structure that its inputs have."""
        import tensorflow as tf

        ordered = [tensors[name] for name in self._input_names]
        if len(ordered) == 1:
            return ordered[0]
        structure = getattr(self.model, "_inputs_struct", None) or getattr(self.model, "_nested_inputs", None)
        return ordered if structure is None else tf.nest.pack_sequence_as(structure, ordered)

    def _by_name(self, answer: Any) -> dict[str, Any]:
        import tensorflow as tf

        return dict(zip(self._output_names, tf.nest.flatten(answer), strict=True))


def _loaded(path: Path, *, is_keras_3: bool, version: str, allow_code: bool) -> Any:
    """The model, by the library that saved it, with its safe mode on unless code is allowed."""
    if is_keras_3:
        import keras as library

        if library.config.backend() != "tensorflow":
            raise SourceRefused(
                f"Keras runs on {library.config.backend()!r}; unset KERAS_BACKEND, since an export requires TensorFlow"
            )
    else:
        import tf_keras as library
    try:
        with quiet():
            return library.models.load_model(path, compile=False, safe_mode=not allow_code)
    except Exception as error:
        raise SourceRefused(
            f"{shown(path)}: {'Keras' if is_keras_3 else 'tf-keras'} {library.__version__} cannot read it (saved by "
            f"{version[:20]}): {in_short(error)}"
        ) from error


def _input_names(model: Any) -> list[str]:
    """Names as in the model; those that Keras made up become ``input``, or ``input_1``, ``input_2``, ..."""
    given = [str(tensor.name).partition(":")[0] for tensor in model.inputs]
    plain = [
        ("input" if len(given) == 1 else f"input_{number}") if _AUTOMATIC.fullmatch(name) else name
        for number, name in enumerate(given, start=1)
    ]
    return _distinct(plain)


def _output_names(model: Any) -> list[str]:
    """Keys of a dict of outputs, otherwise the names of the layers that give them."""
    structure = getattr(model, "_outputs_struct", None)
    if structure is None:
        structure = getattr(model, "_nested_outputs", None)
    if isinstance(structure, Mapping):
        return _distinct([str(key) for key in sorted(structure)])
    if names := getattr(model, "output_names", None):
        return _distinct([str(name) for name in names])
    return _distinct([str(tensor._keras_history.operation.name) for tensor in model.outputs])


def _distinct(names: Sequence[str]) -> list[str]:
    """The names with letters, digits and underscores alone; a number is added to one that occurs again."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
        plain = plain if plain[:1].isalpha() else f"tensor_{plain}".rstrip("_")
        number, free = 2, plain
        while free in found:
            number, free = number + 1, f"{plain}_{number}"
        found.append(free)
    return found


def _facts(name: str, tensor: Any) -> TensorFacts:
    dtype = getattr(tensor.dtype, "name", tensor.dtype)
    return TensorFacts(name, dtype, tuple(None if size is None else int(size) for size in tensor.shape))
