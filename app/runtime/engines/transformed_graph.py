"""An ONNX graph with a step of an installed package before or after it, in the process of a plugin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.contract.bfloat16 import BFLOAT16
from app.contract.derive import with_a_required_input
from app.contract.graph_facts import TensorFacts
from app.contract.model_spec import ONNX_FILE
from app.contract.version_files import Graph
from app.errors import VersionRefused
from app.runtime.engines.onnx import open_session, read_facts
from app.runtime.engines.string_tensors import StringTensors
from app.types import Array, Tensors


class TransformedGraph:
    """A graph and a transform, with the form of a ``plugin_worker.Model``.

    ``utf8`` has the names of the inputs that go into the graph as they are, whose strings must be UTF-8.

    Args:
        transform: may have ``before``, from inputs of the version to those of the graph, and ``after``, from outputs of
            the graph to those of the version; each is called with name -> (rows, *shape). It has ``inputs`` if they
            are not those of the graph, and ``outputs`` likewise.
        origin: of the transform, for messages.
        directory: has the graph, ``model.onnx``.
        threads: of the graph.

    Raises:
        VersionRefused: there is no graph, ONNX Runtime cannot load it, or the object is not a transform.
    """

    def __init__(self, transform: Any, origin: str, directory: Path, threads: int) -> None:
        steps = [getattr(transform, name, None) for name in ("before", "after")]
        if not any(steps) or not all(step is None or callable(step) for step in steps):
            raise VersionRefused(f"{origin} returns no transform: it has neither the method 'before' nor 'after'")
        self._before, self._after = steps
        path = directory / ONNX_FILE
        if not path.is_file():
            raise VersionRefused(f"a transform requires the graph {ONNX_FILE}, which is not in the version")
        graph = Graph(path, path)
        facts = with_a_required_input(read_facts(graph))
        if odd := [fact.name for fact in (*facts.required, *facts.outputs) if fact.element == BFLOAT16]:
            raise VersionRefused(f"{ONNX_FILE}: {', '.join(odd)}: NumPy has no {BFLOAT16}, so a transform has none")
        self.inputs = getattr(transform, "inputs", None) or _signature(facts.required)
        self.outputs = getattr(transform, "outputs", None) or _signature(facts.outputs)
        strings = [[fact.name for fact in part if fact.element == "string"] for part in (facts.inputs, facts.outputs)]
        self._strings = StringTensors(*strings)
        self.utf8 = strings[0] if self._before is None else ()
        self._names = [fact.name for fact in facts.outputs]
        self._session = open_session(graph, threads)

    def run(self, inputs: Tensors) -> Mapping[str, Array]:
        """A batch through the step before, the graph, and the step after."""
        given = self._strings.to_graph(dict(inputs if self._before is None else self._before(inputs)))
        answer = self._strings.from_graph(dict(zip(self._names, self._session.run(self._names, given), strict=True)))
        found: Mapping[str, Array] = answer if self._after is None else self._after(answer)
        return found


def _signature(facts: tuple[TensorFacts, ...]) -> dict[str, tuple[str, list[int | None]]]:
    return {fact.name: (fact.element, list(fact.shape or ())) for fact in facts}
