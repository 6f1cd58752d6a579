"""An ONNX file of another tool."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.contract.files.regular import shown
from app.contract.graph_facts import GraphFacts, facts_of_onnx
from app.contract.model_spec import ModelSpec
from app.contract.strings import decoded, encoded
from app.types import Tensors
from training.errors import SourceRefused
from training.importing.entrance import Entrance
from training.importing.sources.source import Source, in_short

_EXTERNAL = 1  # TensorProto.DataLocation
_NO_AXES_INPUT = 12  # up to this opset the axes of Unsqueeze are an attribute


class OnnxSource(Source):
    """One ONNX graph, run by ONNX Runtime on the CPU provider.

    Args:
        path: the file.

    Raises:
        SourceRefused: it is not an ONNX graph, its weights are in other files, or ONNX Runtime cannot load it.
    """

    kind = "ONNX graph"

    def __init__(self, path: Path) -> None:
        import onnx
        import onnxruntime
        from google.protobuf.message import DecodeError

        self.path = path
        try:
            self._proto = onnx.load(path, load_external_data=False)
        except DecodeError as error:
            raise SourceRefused(f"{shown(path)} is not an ONNX file: {in_short(error)}") from error
        if outside := next((each for each in _tensors(self._proto.graph) if each.data_location == _EXTERNAL), None):
            where = {entry.key: entry.value for entry in outside.external_data}.get("location", "")
            raise SourceRefused(
                f"{shown(path)}: the weights {outside.name!r} are in another file ({shown(where)}); write one "
                "file with onnx.save(onnx.load(FILE), NEW_FILE), or serve it as a bare graph"
            )
        self.opset = max(
            (each.version for each in self._proto.opset_import if each.domain in {"", "ai.onnx"}), default=1
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise SourceRefused(f"{shown(path)}: ONNX Runtime cannot load the graph: {in_short(error)}") from error
        self.facts = GraphFacts(facts_of_onnx(self._session.get_inputs()), facts_of_onnx(self._session.get_outputs()))

    def run(self, inputs: Tensors) -> Tensors:
        """ONNX Runtime, one thread."""
        texts = {each.name: decoded(inputs[each.name]) for each in self.facts.inputs if each.element == "string"}
        names = [each.name for each in self.facts.outputs]
        answers = dict(zip(names, self._session.run(names, {**inputs, **texts}), strict=True))
        return {
            each.name: encoded(answers[each.name]) if each.element == "string" else answers[each.name]
            for each in self.facts.outputs
        }

    def write_saved_model(self, spec: ModelSpec, entrance: Entrance | None, directory: Path) -> None:
        """There is no conversion from ONNX to TensorFlow here."""
        raise SourceRefused("there is no conversion from ONNX to TensorFlow; ONNX Runtime serves it")

    def write_onnx(self, spec: ModelSpec, entrance: Entrance | None, path: Path) -> None:
        """A copy of the file, or the graph behind the entrance."""
        if entrance is None:
            shutil.copyfile(self.path, path)
            return
        if self.opset <= _NO_AXES_INPUT:
            raise SourceRefused(
                f"the graph has opset {self.opset}, and pre-processing is added to opset {_NO_AXES_INPUT + 1} and "
                "later; convert it with onnx.version_converter"
            )
        entrance.add_to_onnx(self._proto)
        path.write_bytes(self._proto.SerializeToString(deterministic=True))


def _tensors(graph: Any) -> Iterator[Any]:
    """Every constant of a graph and of the graphs within it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)
            for inner in attribute.graphs:
                yield from _tensors(inner)
