"""Reads config.pbtxt, and refuses fields that would change answers if they were ignored.

Source: Triton, model configuration. Protobuf's text format.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path

from app.contract.files.regular import shown
from app.contract.files.settled import settled
from app.contract.manifest import is_inside
from app.contract.tensor_spec import LARGEST_SIZE, MOST_DIMENSIONS
from app.errors import VersionRefused
from app.repository.text_proto import read_text_proto
from app.repository.triton import CONFIG_FILE, WARMUP_DIRECTORY
from app.repository.triton import config_pb2 as pb

CONFIG_LIMIT_BYTES = 2**20
# As Triton names them -> as serving.json does.
PLATFORMS = {"onnxruntime_onnx": "onnx", "tensorflow_savedmodel": "savedmodel"}
BACKENDS = {"onnxruntime": "onnx", "tensorflow": "savedmodel"}
# Fields that are followed, or only describe the model; all others that are set are ignored with a line in the log.
_FOLLOWED = frozenset(
    {
        "name",
        "platform",
        "backend",
        "version_policy",
        "max_batch_size",
        "input",
        "output",
        "dynamic_batching",
        "instance_group",
        "default_model_filename",
        "metric_tags",
        "model_warmup",
        "parameters",
    }
)
# Parameters of Triton's TensorFlow backend that decide what is run.
SIGNATURE_PARAMETER, _TAG_PARAMETER, _INIT_PARAMETER = "TF_SIGNATURE_DEF", "TF_GRAPH_TAG", "TF_INIT_OPS_FILE"
# Of its backend for ONNX Runtime: "0" switches the arena off.
ARENA_PARAMETER = "enable_mem_arena"
_FOLLOWED_PARAMETERS = frozenset({SIGNATURE_PARAMETER, _TAG_PARAMETER, _INIT_PARAMETER, ARENA_PARAMETER})
_TAG = "serve"
_FOLLOWED_BATCHING = frozenset(
    {"max_queue_delay_microseconds", "priority_levels", "default_priority_level", "default_queue_policy"}
)
_FOLLOWED_QUEUE = frozenset({"default_timeout_microseconds", "allow_timeout_override", "max_queue_size"})


def read_config(model_directory: Path) -> pb.ModelConfig | None:
    """config.pbtxt of a model, once it is a second old; None if it does not exist. Blocks.

    Raises:
        VersionRefused: it is still changing, not valid, or requires something without which the answers would differ.
    """
    path = model_directory / CONFIG_FILE
    if path.is_symlink() and not path.exists():
        raise VersionRefused(f"{path} is a link to nowhere")
    try:
        with settled(path, lambda: [(path.name, path.stat())]):
            config = read_text_proto(path, pb.ModelConfig(), CONFIG_LIMIT_BYTES)
    except FileNotFoundError:
        return None
    for reason in _refusals(config, model_directory.name):
        raise VersionRefused(f"{path}: {reason}")
    return config


def is_ensemble(model_directory: Path) -> bool:
    """Whether config.pbtxt exists, is valid, and states an ensemble. Blocks."""
    try:
        config = read_text_proto(model_directory / CONFIG_FILE, pb.ModelConfig(), CONFIG_LIMIT_BYTES)
    except (FileNotFoundError, VersionRefused):
        return False
    return config.platform == "ensemble" or config.HasField("ensemble_scheduling")


def parameter(config: pb.ModelConfig, key: str) -> str:
    """The value in ``parameters``; "" without one."""
    return str(config.parameters[key].string_value) if key in config.parameters else ""


def files_beside(config: pb.ModelConfig, model_directory: Path) -> list[tuple[str, os.stat_result]]:
    """The files next to the versions that the settings name and that exist: labels and samples."""
    names = {output.label_filename for output in config.output if output.label_filename}
    for sample in config.model_warmup:
        inputs = sample.inputs.values()
        names |= {f"{WARMUP_DIRECTORY}/{each.input_data_file}" for each in inputs if each.input_data_file}
    found = []
    for name in sorted(name for name in names if is_inside(name)):
        with suppress(OSError):  # whoever reads it says so
            found.append((name, (model_directory / name).stat()))
    return found


def passed_over(config: pb.ModelConfig) -> list[str]:
    """Names of the fields that are set and have no effect here; they change no answer."""
    names = [field.name for field, _ in config.ListFields() if field.name not in _FOLLOWED]
    names += [f"parameters.{shown(key)}" for key in sorted(config.parameters) if key not in _FOLLOWED_PARAMETERS]
    batching = config.dynamic_batching
    names += [
        f"dynamic_batching.{field.name}" for field, _ in batching.ListFields() if field.name not in _FOLLOWED_BATCHING
    ]
    queue = batching.default_queue_policy
    # Requests are rejected at their timeout; to answer them late instead is not possible.
    if queue.timeout_action == pb.ModelQueuePolicy.DELAY and queue.default_timeout_microseconds:
        names.append("dynamic_batching.default_queue_policy.default_timeout_microseconds, which requires REJECT")
    names += [
        f"dynamic_batching.default_queue_policy.{field.name}"
        for field, _ in queue.ListFields()
        if field.name not in _FOLLOWED_QUEUE
    ]
    names = [f"{name}: DELAY" if name.endswith(".timeout_action") else name for name in names]
    if len(config.instance_group) > 1:
        names.append("instance_group beyond the first")
    if any(len(group.gpus) > 1 for group in config.instance_group[:1]):
        names.append("instance_group.gpus beyond the first")
    if sum(bool(output.label_filename) for output in config.output) > 1:
        names.append("label_filename beyond the first")
    return names


def _refusals(config: pb.ModelConfig, name: str) -> Iterator[str]:
    """Why the model cannot be served as the file specifies."""
    for what, sizes in _shapes(config):  # before anything multiplies them
        if len(sizes) > MOST_DIMENSIONS:
            yield f"{what} has {len(sizes)} dimensions; at most {MOST_DIMENSIONS} are served"
        elif max(sizes, default=0) > LARGEST_SIZE:
            yield f"{what} has the size {max(sizes)}; at most {LARGEST_SIZE} is served"
    if config.name not in {"", name}:
        yield f"name is {shown(config.name)!r}, and the directory {name!r}; the two must be the same"
    for field, known in (("platform", PLATFORMS), ("backend", BACKENDS)):
        if (stated := getattr(config, field)) and stated not in known:
            yield f"{field} {shown(stated)!r} is not run here; {' and '.join(known)} are"
    if config.platform and config.backend and PLATFORMS[config.platform] != BACKENDS[config.backend]:
        yield f"platform {config.platform!r} and backend {config.backend!r} do not fit together"
    for field in ("sequence_batching", "ensemble_scheduling", "model_operations", "model_repository_agents"):
        if config.HasField(field):
            yield f"{field} is not supported"
    for field in ("batch_input", "batch_output"):
        if getattr(config, field):
            yield f"{field} is not supported"
    if config.response_cache.enable:
        yield "response_cache is not supported"
    if config.model_transaction_policy.decoupled:
        yield "model_transaction_policy.decoupled is not supported"
    if "onnx" not in {PLATFORMS.get(config.platform), BACKENDS.get(config.backend)}:
        if (tag := parameter(config, _TAG_PARAMETER)) not in {"", _TAG}:
            yield f"{_TAG_PARAMETER} is {shown(tag)!r}; the graph with the tag {_TAG!r} is run"
        if file := parameter(config, _INIT_PARAMETER):
            yield f"{_INIT_PARAMETER} is {shown(file)!r}; operations that initialize a graph are not run"
    if config.max_batch_size < 0:
        yield f"max_batch_size is {config.max_batch_size}; 0 or more is accepted"
    if (named := config.default_model_filename) and not is_inside(named):
        yield f"default_model_filename is {shown(named)!r}; name a file or directory inside the version"
    for tensor in (*config.input, *config.output):
        for field in ("is_shape_tensor", "is_non_linear_format_io", "allow_ragged_batch"):
            if getattr(tensor, field, False):
                yield f"{field} of {shown(tensor.name)!r} is not supported"
        if tensor.HasField("reshape"):
            shape, dims = list(tensor.reshape.shape), list(tensor.dims)
            if not config.max_batch_size:
                yield f"reshape of {shown(tensor.name)!r} requires a max_batch_size above 0"
            if shape.count(-1) != dims.count(-1) or shape.count(-1) > 1 or prod(shape) != prod(dims):
                yield f"reshape of {shown(tensor.name)!r} from {dims} to {shape} does not keep the number of elements"
        if not tensor.name or not tensor.data_type or not tensor.dims:
            yield f"{shown(tensor.name)!r}: an input or output has a name, a data_type and dims"


def _shapes(config: pb.ModelConfig) -> Iterator[tuple[str, Sequence[int]]]:
    """All shapes that are followed, and what each is, for messages."""
    for tensor in (*config.input, *config.output):
        yield f"dims of {shown(tensor.name)!r}", tensor.dims
        yield f"reshape of {shown(tensor.name)!r}", tensor.reshape.shape
    for sample in config.model_warmup:
        for name, each in sample.inputs.items():
            yield f"dims of {shown(name)!r} in model_warmup {shown(sample.name)!r}", each.dims
