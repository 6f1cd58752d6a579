"""From a TensorFlow function to an ONNX file, with an error that names the operations without a conversion."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from training.errors import TrainingError
from training.export import conversions, onnx_passes
from training.export.onnx_graph import PassFailed, canonicalise

ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 2  # LabelEncoder of strings; every ONNX Runtime since 1.0 has it
IR_VERSION = 8  # the file format of opset 17

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Messages of tf2onnx 1.17, tfonnx.py: the node's name starts with the names of the layers that contain it.
_UNSUPPORTED = re.compile(r"Tensorflow op \[(?P<node>.+): (?P<op>\w+)\] is not supported")
_FAILED = re.compile(r"Failed to convert node '(?P<node>.+?)' .*?OP=(?P<op>\w+)", re.DOTALL)
_CALLS = re.compile(r"^(StatefulPartitionedCall(_\d+)?/)+")
_MOST_NAMED = 5
_LONGEST_REASON = 300


class ExportFailed(TrainingError):
    """The model cannot be exported; the message names the model and the broken rule."""


def signature_of(tensor: TensorSpec) -> Any:
    """The ``tf.TensorSpec`` of an input.

    Raises:
        ExportFailed: the name cannot be that of an argument.
    """
    import tensorflow as tf

    if not _NAME.fullmatch(tensor.name):
        raise ExportFailed(f"tensor name {tensor.name!r}: a SavedModel signature requires letters, digits and _")
    shape = [None if size == -1 else size for size in tensor.batch_shape]
    return tf.TensorSpec(shape, tf.as_dtype(tensor.dtype), name=tensor.name)


def convert(function: Any, spec: ModelSpec, handlers: Callable[[], Mapping[str, Any]] = dict) -> Any:
    """The ``onnx.ModelProto`` of a ``tf.function`` of the spec's inputs, as tf2onnx makes it.

    Args:
        function: traced here, if it is not yet.
        spec: signature and opset.
        handlers: called after the trace; further ``custom_op_handlers`` of tf2onnx.

    Raises:
        ExportFailed: names the operations without a conversion, and the layers they belong to.
    """
    import onnx
    import tf2onnx

    with quiet(), _complaints() as complaints:
        try:
            signature = [signature_of(tensor) for tensor in spec.inputs]
            function.get_concrete_function(*signature)
            proto, _ = tf2onnx.convert.from_function(
                function,
                input_signature=signature,
                opset=spec.opset,
                custom_op_handlers=conversions.handlers() | dict(handlers()),
            )
        except Exception as error:
            if complaints:
                raise ExportFailed(f"{spec.name}: {_in_words(complaints)}") from error
            reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
            raise ExportFailed(f"{spec.name}: tf2onnx cannot convert the model: {reason}") from error
    if complaints:
        raise ExportFailed(f"{spec.name}: {_in_words(complaints)}")
    if any(node.domain == ML_DOMAIN for node in proto.graph.node):
        proto.opset_import.append(onnx.helper.make_opsetid(ML_DOMAIN, ML_OPSET))
    return proto


def write_onnx(proto: Any, spec: ModelSpec, path: Path) -> None:
    """Tidy a converted graph, check it and write it. A graph with loops or branches is left as it was converted.

    Raises:
        ExportFailed: it is not valid, or has operations outside ONNX.
    """
    import onnx

    if not _has_inner_graphs(proto.graph):
        try:
            onnx_passes.fold_scales(proto.graph)
            onnx_passes.share_transposed(proto)
            canonicalise(proto, name=spec.name, inputs=spec.inputs, outputs=spec.outputs)
        except PassFailed as error:
            raise ExportFailed(f"{spec.name}: {error}") from error
    proto.ir_version = IR_VERSION
    unknown = {node.op_type for node in proto.graph.node if node.domain not in {"", "ai.onnx", ML_DOMAIN}}
    if unknown:
        raise ExportFailed(f"{spec.name}: no ONNX operation for {', '.join(sorted(unknown))}")
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportFailed(f"{spec.name}: the ONNX graph is not valid: {error}") from error
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _has_inner_graphs(graph: Any) -> bool:
    """Whether a node contains a graph, which reads tensors of this one; the passes do not look into it."""
    return any(attribute.HasField("g") for node in graph.node for attribute in node.attribute)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the converters' progress lines from the training output; errors still surface."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "tf2onnx", "absl")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _complaints() -> Iterator[dict[str, str]]:
    """Operation -> node, for all that tf2onnx logs as not converted in the body; nothing is printed."""
    found: dict[str, str] = {}

    def keep(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if match := _UNSUPPORTED.search(message) or _FAILED.search(message):
            found.setdefault(match["op"], _CALLS.sub("", match["node"]))
        return False

    logger = logging.getLogger("tf2onnx.tfonnx")
    logger.addFilter(keep)
    try:
        yield found
    finally:
        logger.removeFilter(keep)


def _in_words(complaints: dict[str, str]) -> str:
    named = [f"{op} ({node})" for op, node in complaints.items()]
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return f"no ONNX operation for {', '.join(named[:_MOST_NAMED])}{more}"
