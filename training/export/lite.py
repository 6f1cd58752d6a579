"""model.tflite: an image model for phones and boards, by the converter of TensorFlow, with the signature of the spec.

TensorFlow ships the converter but no longer maintains its interpreter, which moved to the package ``ai-edge-litert``
(the extra ``tflite``). That package runs the file here if it is installed; otherwise the interpreter of TensorFlow,
whose kernels are the same.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.contract.model_spec import ModelSpec
from app.contract.steps import ImagePreprocessing
from training.environment import native_stderr_discarded
from training.export.converting import ExportFailed, quiet
from training.export.model_export import Array, Runner, Tensors, traced

SIGNATURE = "serving_default"
_LONGEST_REASON = 300


def export_lite(model: Any, spec: ModelSpec, path: Path) -> None:
    """Write the forward pass as a file of TensorFlow Lite: float32, a batch of any size, nothing quantised.

    Args:
        model: tf_keras.Model that accepts the spec's inputs.
        spec: signature of an image model.
        path: of the file.

    Raises:
        ExportFailed: the model is not one of images, or names the operations that TensorFlow Lite does not have.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    if not isinstance(spec.preprocessing, ImagePreprocessing):
        raise ExportFailed(f"{spec.name}: tflite is a format of image models; this model takes {_inputs(spec)}")
    function = traced(model, spec, device="/CPU:0")
    try:
        with quiet(), native_stderr_discarded():
            path.write_bytes(
                tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], model).convert()
            )
    except ConverterError as error:
        raise ExportFailed(f"{spec.name}: {_in_words(error)}") from error


def lite_runner(path: Path, spec: ModelSpec) -> Runner:
    """A function that runs a file of TensorFlow Lite on the CPU with one thread, resized to each batch."""
    with native_stderr_discarded():
        interpreter = _interpreter(path)
    signature = interpreter.get_signature_runner(SIGNATURE)
    places = {name: detail["index"] for name, detail in signature.get_input_details().items()}
    answers = {name: detail["index"] for name, detail in signature.get_output_details().items()}

    def run(inputs: Mapping[str, Array]) -> Tensors:
        for tensor in spec.inputs:
            interpreter.resize_tensor_input(places[tensor.name], inputs[tensor.name].shape)
        with native_stderr_discarded():
            interpreter.allocate_tensors()
        for tensor in spec.inputs:
            interpreter.set_tensor(places[tensor.name], inputs[tensor.name].astype(tensor.numpy_dtype, copy=False))
        interpreter.invoke()
        return {tensor.name: interpreter.get_tensor(answers[tensor.name]) for tensor in spec.outputs}

    return run


def _interpreter(path: Path) -> Any:
    """Of LiteRT if it is installed, otherwise of TensorFlow."""
    options = {"model_path": str(path), "num_threads": 1}
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated", category=UserWarning)
            return tf.lite.Interpreter(**options)
    return Interpreter(**options)


def _inputs(spec: ModelSpec) -> str:
    return ", ".join(f"{tensor.name!r} ({tensor.dtype} of shape {tensor.shape})" for tensor in spec.inputs)


def _in_words(error: Any) -> str:
    """The operations that the converter names, or what it says first."""
    named = sorted({str(each.operator.name).removeprefix("tf.") for each in error.errors if each.operator.name})
    if named:
        return f"no TensorFlow Lite operation for {', '.join(named)}; leave --formats tflite out"
    reason = " ".join(str(error).split())[:_LONGEST_REASON]
    return f"TensorFlow Lite cannot convert the model: {reason}"
