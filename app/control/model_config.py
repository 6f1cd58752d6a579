"""A version's signature, batching and measured latency in the form of Triton's ModelConfig.

Source: Triton, model configuration extension; model_config.proto for the names.
"""

import math
from collections import Counter
from typing import Any

import orjson

from app.contract.device import CPU, CUDA
from app.contract.dtypes import NAMES
from app.contract.model_spec import ONNX_FILE, SAVED_MODEL_FILE
from app.contract.tensor_spec import TensorSpec
from app.control.tensor_metadata import tensor_metadata
from app.loaded import LoadedModel
from app.runtime.engines.savedmodel import TENSORFLOW

NAN_INPUTS = "nan_inputs"
"""Parameter with the inputs that accept NaN: neither Triton's configuration nor the metadata has a word for them."""


def model_config(model: LoadedModel) -> dict[str, Any]:
    """The current configuration, including the settings that serving.json leaves open."""
    rules = model.batcher.rules
    return {
        "name": model.name,
        **_runtime(model),
        "max_batch_size": 0 if not model.spec.batched else rules.max_batch_size,
        "input": [_input(tensor) for tensor in model.spec.inputs],
        "output": [_tensor(tensor) for tensor in model.spec.outputs],
        "instance_group": _instance_groups(model),
        "dynamic_batching": {
            "preferred_batch_size": list(rules.allowed_batch_sizes),
            "max_queue_delay_microseconds": round(rules.max_queue_delay_s * 1e6),
            "preserve_ordering": False,
            "priority_levels": rules.priority_levels,
            "default_priority_level": rules.default_priority_level,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": round(model.default_timeout_s * 1e6),
                "allow_timeout_override": True,
                "max_queue_size": model.admission.max_queue_rows,
            },
        },
        "model_transaction_policy": {"decoupled": False},
        "response_cache": {"enable": False},
        "parameters": _parameters(model),
        "latency_curve": {
            "batch_sizes": list(model.curve.batch_sizes),
            "lengths": list(model.curve.lengths) if model.sequence is not None else [],
            "microseconds": [[round(seconds * 1e6, 1) for seconds in row] for row in model.curve.table],
        },
    }


def _parameters(model: LoadedModel) -> dict[str, dict[str, str]]:
    """The entries that have a value: protobuf's JSON omits an empty text, which PyTriton's client then misses."""
    rules = model.batcher.rules
    values = {
        "max_queue_bytes": str(model.admission.max_queue_bytes),
        "length_buckets": ",".join(map(str, rules.length_buckets)),
        "max_execution_ms": _most_milliseconds(model),
        "inline_below_us": f"{rules.inline_below_s * 1e6:.0f}",
        "execution_provider": model.provider,
        "signatures": _signatures(model),
        NAN_INPUTS: _nan_inputs(model),
    }
    return {name: {"string_value": value} for name, value in values.items() if value}


def _nan_inputs(model: LoadedModel) -> str:
    """Names of the inputs in which NaN stands for a missing number, as JSON; empty without any."""
    names = [tensor.name for tensor in model.spec.inputs if tensor.accepts_nan]
    return orjson.dumps(names).decode() if names else ""


def _signatures(model: LoadedModel) -> str:
    """Inputs and outputs of the other signatures as JSON, each as the metadata have them; empty without any."""
    described = {
        name: {"inputs": tensor_metadata(each.spec.inputs), "outputs": tensor_metadata(each.spec.outputs)}
        for name, each in model.signatures.items()
    }
    return orjson.dumps(described).decode() if described else ""


def platform(model: LoadedModel) -> str:
    """The runtime of the version, in Triton's words; empty for a backend of an installed package."""
    return _runtime(model)["platform"]


def _runtime(model: LoadedModel) -> dict[str, str]:
    """What runs the version, in Triton's words."""
    if model.provider == TENSORFLOW:
        found = ("tensorflow_savedmodel", "tensorflow", SAVED_MODEL_FILE)
    elif model.provider.endswith("ExecutionProvider"):
        found = ("onnxruntime_onnx", "onnxruntime", ONNX_FILE)
    else:
        found = ("", model.provider, "")
    return dict(zip(("platform", "backend", "default_model_filename"), found, strict=True))


def _instance_groups(model: LoadedModel) -> list[dict[str, Any]]:
    """One group for each number of instances on a GPU, and one for the CPU.

    As in Triton, ``count`` applies to each GPU of a group.
    """
    on = Counter(instance.placement.device for instance in model.instances.all)
    groups: list[dict[str, Any]] = []
    gpus = sorted(int(device.partition(":")[2]) for device in on if device != CPU)
    for count in sorted({on[f"{CUDA}:{gpu}"] for gpu in gpus}, reverse=True):
        these = [gpu for gpu in gpus if on[f"{CUDA}:{gpu}"] == count]
        groups.append({"name": model.name, "count": count, "kind": "KIND_GPU", "gpus": these})
    if on[CPU]:
        groups.append({"name": model.name, "count": on[CPU], "kind": "KIND_CPU"})
    if len(groups) > 1:  # in Triton, groups have different names
        for number, group in enumerate(groups):
            group["name"] = f"{model.name}_{number}"
    return groups


def _most_milliseconds(model: LoadedModel) -> str:
    """Milliseconds after which the largest batch counts as hung; 0 without a limit."""
    allowed_s = model.batcher.rules.most_seconds_allowed(model.curve)
    return "0" if math.isinf(allowed_s) else f"{allowed_s * 1e3:.0f}"


def _input(tensor: TensorSpec) -> dict[str, Any]:
    optional = {"optional": True} if tensor.optional else {}
    return {**_tensor(tensor), "format": "FORMAT_NONE", **optional}


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": NAMES[tensor.dtype].triton, "dims": list(tensor.shape)}
