"""Removes what TensorFlow writes to saved_model.pb beyond the forward pass."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

SWAPPABLE = "api_implements"  # attribute of functions that TensorFlow may exchange for one another by device


def drop_gradients(path: Path) -> None:
    """Rewrite a saved_model.pb without the functions that inference does not call.

    Keras traces an LSTM with its gradients, which make up four fifths of the file. The remaining functions are those
    that the graph or an object names, those that they call, and the LSTM's variant for a GPU, which TensorFlow inserts
    itself.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    for graph in saved.meta_graphs:
        library = graph.graph_def.library
        functions = {function.signature.name: function for function in library.function}
        roots = [name for node in graph.graph_def.node for name in _called(node)]
        roots += list(graph.object_graph_def.concrete_functions)
        roots += [name for name, function in functions.items() if SWAPPABLE in function.attr and _is_forward(name)]
        kept = _reachable(roots, functions)
        gradients = [gradient for gradient in library.gradient if gradient.function_name in kept]
        del library.function[:], library.gradient[:]
        library.function.extend(function for name, function in functions.items() if name in kept)
        library.gradient.extend(gradient for gradient in gradients if gradient.gradient_func in kept)
    path.write_bytes(saved.SerializeToString(deterministic=True))


def _is_forward(name: str) -> bool:
    """Whether a function only computes answers; ``__forward_`` functions also keep what a gradient needs."""
    return name.startswith("__inference_") and "__backward_" not in name


def _reachable(roots: list[str], functions: dict[str, Any]) -> set[str]:
    """The roots that are functions, and all functions that they call."""
    found: set[str] = set()
    waiting = [name for name in roots if name in functions]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [called for node in functions[name].node_def for called in _called(node) if called in functions]
    return found


def _called(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls, including itself."""
    yield node.op
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)
