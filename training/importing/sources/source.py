"""A model that another tool saved: its facts, its own answers, and conversions to the served formats."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from app.contract.graph_facts import GraphFacts
from app.contract.model_spec import ModelSpec
from app.types import Tensors
from training.errors import SourceRefused
from training.export.converting import convert, signature_of, write_onnx
from training.export.model_export import OPSET
from training.export.saved_model import write_saved_model
from training.importing.entrance import Entrance
from training.recurrent_on_cpu import traced_for_gpus_too

_LONGEST_REASON = 400


class Source(ABC):
    """One opened model.

    Attributes:
        kind: in words.
        path: of the file or directory.
        facts: inputs and outputs, named as in the contract; sizes with the batch.
        opset: of the ONNX graph that it is, or is converted to.
        packages: package -> version, of those that read it.
    """

    kind: ClassVar[str]
    path: Path
    facts: GraphFacts
    opset: int = OPSET
    packages: Mapping[str, str] = MappingProxyType({})

    @abstractmethod
    def run(self, inputs: Tensors) -> Tensors:
        """The answers of the library that the model belongs to, on the CPU, to a batch of its own inputs."""

    @abstractmethod
    def write_saved_model(self, spec: ModelSpec, entrance: Entrance | None, directory: Path) -> None:
        """Write a SavedModel with the inputs of the contract.

        Raises:
            SourceRefused, ExportFailed: this model cannot be converted to it; has the reason.
        """

    @abstractmethod
    def write_onnx(self, spec: ModelSpec, entrance: Entrance | None, path: Path) -> None:
        """Write an ONNX graph with the inputs of the contract; raises as ``write_saved_model``."""

    def padding_counts(self, spec: ModelSpec) -> str:
        """Which layer makes padding change the answers to texts, and how to mask it; empty if that is not known."""
        return ""


class TensorFlowSource(Source):
    """A model that TensorFlow runs."""

    @abstractmethod
    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Input name -> tensor to output name -> tensor, in inference mode."""

    @abstractmethod
    def kept(self, function: Any) -> list[dict[str, Any]]:
        """Objects that a SavedModel must contain besides the traced function: to be tried in this order."""

    def traced(self, spec: ModelSpec, entrance: Entrance | None, *, device: str | None) -> Any:
        """The forward pass as a ``tf.function`` of the inputs of the contract, in order."""
        import tensorflow as tf

        names = [tensor.name for tensor in spec.inputs]

        def forward(*tensors: Any) -> dict[str, Any]:
            with tf.device(device):
                if entrance is None:
                    inputs = dict(zip(names, tensors, strict=True))
                else:
                    inputs = {entrance.source.name: entrance.tensorflow(tensors[0])}
                outputs = self.call(inputs)
                return {tensor.name: tf.identity(outputs[tensor.name]) for tensor in spec.outputs}

        return tf.function(forward, input_signature=[signature_of(each) for each in spec.inputs], autograph=False)

    def write_saved_model(self, spec: ModelSpec, entrance: Entrance | None, directory: Path) -> None:
        """See ``Source``."""
        with traced_for_gpus_too():
            function = self.traced(spec, entrance, device=None)
            *first, last = self.kept(function)
            for keep in first:
                try:
                    return write_saved_model(function, directory, keep=keep)
                except AssertionError:  # it reads a table, too
                    continue
            try:
                return write_saved_model(function, directory, keep=last)
            except (AssertionError, ValueError, TypeError) as error:
                raise SourceRefused(f"TensorFlow cannot save it: {in_short(error)}") from error

    def write_onnx(self, spec: ModelSpec, entrance: Entrance | None, path: Path) -> None:
        """See ``Source``."""
        write_onnx(convert(self.traced(spec, entrance, device="/CPU:0"), spec), spec, path)


def in_short(error: Exception) -> str:
    """The message of a library's error, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."
