"""config.pbtxt: the same signature for Triton Inference Server.

Source: field names and value names of inference.ModelConfig in Triton's public model_config.proto.
"""

from app.contract.dtypes import NAMES
from app.contract.model_spec import ONNX_FILE, ModelSpec
from app.contract.tensor_spec import TensorSpec

CONFIG_FILE = "config.pbtxt"

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def triton_config(spec: ModelSpec) -> str:
    """Text of config.pbtxt: one instance's shape per tensor; max_batch_size implies the batch dimension.

    A tensor of one number per instance has shape () in model.json; Triton requires at least one dimension, so it is
    described as [ 1 ] with a reshape to the empty shape.
    """
    fields = [
        f"name: {_quoted(spec.name)}",
        'backend: "onnxruntime"',
        f"default_model_filename: {_quoted(ONNX_FILE)}",
        f"max_batch_size: {spec.batching.max_batch_size}",
        *(f"input {_tensor(tensor)}" for tensor in spec.inputs),
        *(f"output {_tensor(tensor)}" for tensor in spec.outputs),
        "dynamic_batching { }",
    ]
    return "# Written at publishing from model.json; Triton reads it, Atelier does not.\n" + "\n".join(fields) + "\n"


def _tensor(tensor: TensorSpec) -> str:
    dims = ", ".join(str(size) for size in tensor.shape or (1,))
    reshape = "" if tensor.shape else "\n  reshape { shape: [ ] }"
    data_type = NAMES[tensor.dtype].triton
    return f"{{\n  name: {_quoted(tensor.name)}\n  data_type: {data_type}\n  dims: [ {dims} ]{reshape}\n}}"


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
