"""Exports Keras models to SavedModel and to ONNX: same signature, raw inputs, and only the forward pass.

Both graphs have the tensors of the ModelSpec. tf2onnx converts on the CPU: on a GPU host Keras uses the op
CudnnRNNV3 for an LSTM, which has no conversion.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from app.contract.model_spec import ModelSpec
from app.contract.steps import TextPreprocessing
from app.contract.strings import decoded, encoded
from training.export.converting import ExportFailed, convert, quiet, signature_of, write_onnx
from training.export.recurrent_layers import fused_layers
from training.export.saved_model import load_saved_model, write_saved_model
from training.recurrent_on_cpu import traced_for_gpus_too

OPSET = 17  # the highest that tf2onnx 1.17 and Triton 22.08 and later accept without a version conversion

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
Runner = Callable[[Mapping[str, Array]], Tensors]


def keras_runner(model: Any, spec: ModelSpec) -> Runner:
    """A function that runs the Keras model itself, on the CPU, in inference mode.

    Args:
        model: tf_keras.Model that accepts the spec's inputs, in order or by name.
        spec: signature.

    Returns:
        input name -> (rows, *shape) to output name -> (rows, *shape), like ``app.runtime`` backends.
    """
    import tensorflow as tf

    forward = traced(model, spec, device="/CPU:0").get_concrete_function()

    def run(inputs: Mapping[str, Array]) -> Tensors:
        with tf.device("/CPU:0"):
            tensors = [tf.constant(inputs[tensor.name], tensor.dtype) for tensor in spec.inputs]
            return {name: value.numpy() for name, value in forward(*tensors).items()}

    return run


def export_saved_model(model: Any, spec: ModelSpec, directory: Path) -> None:
    """Write a SavedModel with the one signature ``serving_default`` to ``directory``.

    It contains the forward pass and the variables that it reads: no optimiser, no training graph, no Keras metadata.
    ``fingerprint.pb`` is left out because it contains a random id, which would make all exports different.
    """
    function = traced(model, spec, device=None)
    with traced_for_gpus_too():
        variables = list(function.get_concrete_function().graph.variables)
        write_saved_model(function, directory, keep={"captured": variables})


def saved_model_runner(directory: Path, spec: ModelSpec) -> Runner:
    """A function that runs the signature ``serving_default`` of the SavedModel in ``directory`` on the CPU."""
    import tensorflow as tf

    with quiet():
        loaded = load_saved_model(directory)
    signature = loaded.signatures["serving_default"]

    def run(inputs: Mapping[str, Array]) -> Tensors:
        with tf.device("/CPU:0"):
            tensors = {tensor.name: tf.constant(inputs[tensor.name], tensor.dtype) for tensor in spec.inputs}
            return {name: value.numpy() for name, value in signature(**tensors).items()}

    run.loaded = loaded  # type: ignore[attr-defined]  # the signature references its variables only weakly
    return run


def export_onnx(model: Any, spec: ModelSpec, path: Path) -> None:
    """Write the ONNX graph: named inputs and outputs, free batch (and length), opset as pinned by the spec.

    The bytes depend only on the architecture, the weights and the spec: all names are replaced, in the order of the
    graph.

    Raises:
        ExportFailed: an operation of the model has no conversion.
    """
    function = traced(model, spec, device="/CPU:0")
    with fused_layers(model, ids=padded_input(spec)) as markers:
        proto = convert(function, spec, markers.handlers)
    write_onnx(proto, spec, path)


def padded_input(spec: ModelSpec) -> str | None:
    """Name of the input of token ids, of which 0 is padding and comes only after the text; None without one."""
    return spec.preprocessing.input if isinstance(spec.preprocessing, TextPreprocessing) else None


def onnx_runner(path: Path, spec: ModelSpec) -> Runner:
    """A function that runs the ONNX graph at ``path`` on the CPU provider with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in spec.outputs]
    strings_in = [tensor.name for tensor in spec.inputs if tensor.is_string]
    strings_out = [tensor.name for tensor in spec.outputs if tensor.is_string]

    def run(inputs: Mapping[str, Array]) -> Tensors:
        texts = {name: decoded(inputs[name]) for name in strings_in}
        answer = dict(zip(names, session.run(names, {**inputs, **texts}), strict=True))
        return answer | {name: encoded(answer[name]) for name in strings_out}

    return run


def framework_versions() -> dict[str, str]:
    """Package -> version of all packages that can change the exported graph or its numbers."""
    from importlib.metadata import version

    packages = ("tensorflow", "tf-keras", "tf2onnx", "onnx", "numpy")
    return {package: version(package) for package in packages}


def traced(model: Any, spec: ModelSpec, *, device: str | None) -> Any:
    """The forward pass as a tf.function of the spec's inputs, in order, that returns output name -> tensor."""
    import tensorflow as tf

    dtypes = [getattr(tensor, "dtype", None) for tensor in getattr(model, "inputs", None) or []]

    def forward(*tensors: Any) -> dict[str, Any]:
        casts = dtypes if len(dtypes) == len(tensors) else [None] * len(tensors)
        arguments = [
            tensor if dtype is None else tf.cast(tensor, dtype) for tensor, dtype in zip(tensors, casts, strict=True)
        ]
        with tf.device(device):
            return _named(model(_arguments(model, spec, arguments), training=False), model, spec)

    return tf.function(forward, input_signature=[signature_of(tensor) for tensor in spec.inputs], autograph=False)


def _arguments(model: Any, spec: ModelSpec, tensors: list[Any]) -> Any:
    """The argument of the model's call: the one tensor, or all by name if the names agree, or all in order."""
    if len(tensors) == 1:
        return tensors[0]
    names = [tensor.name for tensor in spec.inputs]
    return dict(zip(names, tensors, strict=True)) if set(names) == set(model.input_names) else tensors


def _named(outputs: Any, model: Any, spec: ModelSpec) -> dict[str, Any]:
    """Output name -> tensor, for a model that returns one tensor, several in order, or a dict."""
    import tensorflow as tf

    names = [tensor.name for tensor in spec.outputs]
    if isinstance(outputs, Mapping):
        if set(outputs) != set(names):
            raise ExportFailed(f"{spec.name}: outputs are {sorted(outputs)}, but the spec requires {sorted(names)}")
        return {name: tf.identity(outputs[name]) for name in names}
    several = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    if len(several) != len(names):
        raise ExportFailed(f"{spec.name}: {model.name} gives {len(several)} outputs, but the spec names {len(names)}")
    return {name: tf.identity(value) for name, value in zip(names, several, strict=True)}
