"""The process that runs a SavedModel: ``python -m app.runtime.engines.savedmodel_worker DIRECTORY THREADS``.

TensorFlow is imported only here; ``worker_loop`` documents the protocol with the service. With ``--template`` it only
imports TensorFlow, and its forks run SavedModels: see ``forking_loop``.
"""

import importlib
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.bfloat16 import narrowed, widened
from app.contract.model_spec import SAVED_MODEL_FILE
from app.contract.saved_graphs import tags_to_load
from app.errors import VersionRefused
from app.runtime.engines.forking_loop import serve_forks
from app.runtime.engines.path_gradients import PathGradients
from app.runtime.engines.worker_loop import HOW_TO_INSTALL, CannotLoad, Run, serve
from app.types import Array, Tensors

TEMPLATE = "--template"
NAME = "savedmodel"
"""Of the process, in ``ps`` and ``top``."""
_LOWEST_PRIORITY = 19


def main() -> None:
    """Load, then answer until the socket closes."""
    arguments: list[str] | None = sys.argv[1:]
    if arguments == [TEMPLATE]:
        with suppress(ImportError):  # a new interpreter says so
            importlib.import_module("tensorflow")
            arguments = serve_forks()
        if arguments in (None, [TEMPLATE]):
            return
    assert arguments is not None
    with suppress(OSError):
        Path("/proc/self/comm").write_text(NAME, encoding="ascii")
    directory, threads = Path(arguments[0]), int(arguments[1])
    serve(lambda: load(directory, threads))
    os._exit(0)  # skip TensorFlow's clean-up, which takes longer than the kernel's


def load(directory: Path, threads: int) -> tuple[dict[str, Any], Run]:
    """Load the SavedModel of a directory on the CPU.

    Args:
        directory: contains saved_model.pb and variables/.
        threads: threads of one operation.

    Returns:
        Signature -> {"inputs": ..., "outputs": ..., "defaults": ...}: inputs and outputs are name -> [element type,
        sizes with the batch], a size that varies as None, and None in place of the sizes if their number is unknown;
        inputs with a default in the signature -> its TensorProto as JSON. And the function that runs a batch.

    Raises:
        CannotLoad: TensorFlow is not installed, or the SavedModel has no graph to run.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise CannotLoad(f"TensorFlow cannot be imported ({error}); {HOW_TO_INSTALL}") from error
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tags, protos = _tags_and_defaults(directory)
    loaded = tf.saved_model.load(str(directory), tags)
    functions = dict(loaded.signatures)
    defaults = {
        name: {each: tf.constant(tf.make_ndarray(proto)) for each, proto in found.items()}
        for name, found in protos.items()
    }
    signatures = {
        name: {
            "inputs": _described(function.structured_input_signature[1]),
            "outputs": _described(function.structured_outputs),
            "defaults": {each: _as_json(proto) for each, proto in sorted(protos.get(name, {}).items())},
        }
        for name, function in functions.items()
    }

    bfloat16_inputs = {
        name: {key for key, tensor in function.structured_input_signature[1].items() if tensor.dtype == tf.bfloat16}
        for name, function in functions.items()
    }

    gradients: dict[str, PathGradients] = {}

    def run(header: dict[str, Any], inputs: Tensors) -> dict[str, Array]:
        signature = header["signature"]
        if (asked := header.get("gradients")) is not None:
            if signature not in gradients:
                os.nice(_LOWEST_PRIORITY)  # this process is asked for nothing else
                gradients[signature] = PathGradients(tf, _frozen, functions[signature])
            return gradients[signature].scores(inputs, asked["output"], asked["target"])
        of_bfloat16 = bfloat16_inputs.get(signature, ())
        given = {
            name: tf.bitcast(narrowed(values), tf.bfloat16) if name in of_bfloat16 else tf.constant(values)
            for name, values in inputs.items()
        }
        outputs = functions[signature](**{**defaults.get(signature, {}), **given})
        return {name: _array(tf, values) for name, values in outputs.items()}

    run.loaded = loaded  # type: ignore[attr-defined]  # a signature references its variables only weakly
    return signatures, run


def _frozen(function: Any) -> Any:
    """See ``PathGradients``."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=False)


def _tags_and_defaults(directory: Path) -> tuple[list[str] | None, dict[str, dict[str, Any]]]:
    """The tags of the graph to run, and of that: signature -> input -> its default, a TensorProto.

    TensorFlow's own loader ignores the defaults.

    Source: TensorFlow, meta_graph.proto, ``SignatureDef.defaults``; TensorFlow Serving takes them for what a request
        leaves out.

    Raises:
        CannotLoad: saved_model.pb is not a SavedModel, or has no graph to run.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        graphs = saved_model_pb2.SavedModel.FromString((directory / SAVED_MODEL_FILE).read_bytes()).meta_graphs
        tags = tags_to_load([graph.meta_info_def.tags for graph in graphs])
    except DecodeError as error:
        raise CannotLoad(f"it is damaged: {error}") from error
    except VersionRefused as error:
        raise CannotLoad(error.message) from error
    run = next(graph for graph in graphs if tags is None or list(graph.meta_info_def.tags) == tags)
    return tags, {signature: dict(each.defaults) for signature, each in run.signature_def.items() if each.defaults}


def _as_json(proto: Any) -> dict[str, Any]:
    """A TensorProto as TensorFlow Serving's metadata have it: all fields, by their names in the message."""
    from google.protobuf.json_format import MessageToDict

    document: dict[str, Any] = MessageToDict(
        proto, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document


def _array(tf: Any, tensor: Any) -> Array:
    """The values of an output."""
    if tensor.dtype == tf.bfloat16:
        return widened(tf.bitcast(tensor, tf.uint16).numpy())
    return np.asarray(tensor.numpy(), object if tensor.dtype == tf.string else None)


def _described(tensors: dict[str, Any]) -> dict[str, list[Any]]:
    """Name -> [element type, sizes], by name: TensorFlow's own order differs from process to process."""
    return {
        name: [tensor.dtype.name, None if tensor.shape.rank is None else tensor.shape.as_list()]
        for name, tensor in sorted(tensors.items())
    }


if __name__ == "__main__":
    main()
