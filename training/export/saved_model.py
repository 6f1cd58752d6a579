"""Writes a SavedModel, and removes what TensorFlow writes to saved_model.pb beyond the forward pass."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.contract.model_spec import SAVED_MODEL_FILE
from app.contract.saved_graphs import tags_to_load
from training.export.converting import quiet

SWAPPABLE = "api_implements"  # attribute of functions that TensorFlow may exchange for one another by device


def write_saved_model(function: Any, directory: Path, *, keep: Mapping[str, Any]) -> None:
    """Write a SavedModel whose signature ``serving_default`` is a ``tf.function``.

    ``fingerprint.pb`` is left out because it contains a random id, which would make all exports different.

    Args:
        function: the forward pass.
        directory: created if missing.
        keep: attribute -> object: the variables and tables that the function reads.

    Raises:
        AssertionError: the function reads a resource that ``keep`` does not contain.
    """
    import tensorflow as tf

    module = tf.Module()
    for name, value in keep.items():
        setattr(module, name, value)
    with quiet():
        tf.saved_model.save(
            module,
            str(directory),
            signatures={"serving_default": function},
            options=tf.saved_model.SaveOptions(save_debug_info=False),
        )
    drop_gradients(directory / SAVED_MODEL_FILE)
    (directory / "fingerprint.pb").unlink(missing_ok=True)
    assets = directory / "assets"
    if assets.is_dir() and not any(assets.iterdir()):
        shutil.rmtree(assets)


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


def load_saved_model(directory: Path) -> Any:
    """The graph of a SavedModel that the service runs too.

    Raises:
        VersionRefused: see ``tags_to_load``.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    graphs = saved_model_pb2.SavedModel.FromString((directory / SAVED_MODEL_FILE).read_bytes()).meta_graphs
    return tf.saved_model.load(str(directory), tags_to_load([graph.meta_info_def.tags for graph in graphs]))
