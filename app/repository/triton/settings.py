"""config.pbtxt as settings of serving.json, and as facts about inputs and outputs."""

from math import ceil
from pathlib import Path
from typing import Any

from app.contract.files.regular import read_file, shown
from app.contract.graph_facts import SIGNATURE, Stated, StatedTensor
from app.contract.manifest import is_inside
from app.errors import VersionRefused
from app.repository.stated_policy import version_policy
from app.repository.triton import config_pb2 as pb
from app.repository.triton.config_file import ARENA_PARAMETER, BACKENDS, PLATFORMS, SIGNATURE_PARAMETER, parameter
from app.repository.triton.warmup import warmup_rows

LABELS_LIMIT_BYTES = 2**20
_DEVICES = {pb.ModelInstanceGroup.KIND_CPU: "cpu", pb.ModelInstanceGroup.KIND_GPU: "cuda"}


def serving_document(config: pb.ModelConfig) -> dict[str, Any]:
    """The keys of serving.json that the file states."""
    document: dict[str, Any] = {}
    if backend := BACKENDS.get(config.backend) or PLATFORMS.get(config.platform):
        document["backend"] = backend
    if (policy := version_policy(config.version_policy)) is not None:
        document["version_policy"] = policy
    if batching := _batching(config):
        document["batching"] = batching
    if parameter(config, ARENA_PARAMETER) == "0":
        document["enable_cpu_mem_arena"] = False
    if config.instance_group:
        group = config.instance_group[0]
        document["instances"] = group.count or 1
        if (device := _DEVICES.get(group.kind)) is not None:
            document["device"] = f"{device}:{group.gpus[0]}" if device == "cuda" and group.gpus else device
    return document


def stated_signature(config: pb.ModelConfig, model_directory: Path) -> Stated:
    """Inputs, outputs and batch size, to be compared with the graph.

    Raises:
        VersionRefused: a file of labels or of samples cannot be read, or the samples break a rule.
    """
    return Stated(
        max_batch_size=config.max_batch_size,
        inputs=tuple(_tensor(tensor) for tensor in config.input),
        outputs=tuple(_tensor(tensor) for tensor in config.output),
        labels=_labels(config, model_directory),
        samples=warmup_rows(config, model_directory),
        signature=parameter(config, SIGNATURE_PARAMETER) or SIGNATURE,
    )


def _batching(config: pb.ModelConfig) -> dict[str, Any]:
    """Keys of ``batching``. max_queue_size counts requests there and instances here."""
    batching, queue = config.dynamic_batching, config.dynamic_batching.default_queue_policy
    document: dict[str, Any] = {}
    if batching.max_queue_delay_microseconds:
        document["max_queue_delay_us"] = batching.max_queue_delay_microseconds
    if batching.priority_levels:
        document["priority_levels"] = batching.priority_levels
        document["default_priority_level"] = batching.default_priority_level or batching.priority_levels
    if queue.max_queue_size:
        document["max_queue_rows"] = max(queue.max_queue_size, config.max_batch_size)
    if queue.default_timeout_microseconds and queue.timeout_action == pb.ModelQueuePolicy.REJECT:
        document["default_timeout_ms"] = ceil(queue.default_timeout_microseconds / 1e3)
    return document


def _tensor(tensor: pb.ModelInput | pb.ModelOutput) -> StatedTensor:
    return StatedTensor(
        name=tensor.name,
        triton_type=pb.DataType.Name(tensor.data_type),
        shape=tuple(tensor.dims),
        graph_shape=tuple(tensor.reshape.shape) if tensor.HasField("reshape") else None,
        optional=isinstance(tensor, pb.ModelInput) and tensor.optional,
    )


def _labels(config: pb.ModelConfig, model_directory: Path) -> tuple[str, tuple[str, ...]] | None:
    """The first output with a file of labels, one per line, and these."""
    for output in config.output:
        if output.label_filename:
            path = model_directory / output.label_filename
            if not is_inside(output.label_filename) or "/" in output.label_filename:
                raise VersionRefused(f"label_filename {shown(output.label_filename)!r} is not next to config.pbtxt")
            try:
                lines = read_file(path, LABELS_LIMIT_BYTES).decode("utf-8").rstrip("\r\n").split("\n")
            except OSError as error:
                raise VersionRefused(f"{shown(path)}: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise VersionRefused(f"{shown(path)} is not UTF-8: {error.reason} at byte {error.start}") from None
            labels = tuple(line.removesuffix("\r") for line in lines)
            if "" in labels:  # without it the labels after it would belong to other classes
                raise VersionRefused(f"{shown(path)}: line {labels.index('') + 1} is empty; each line is one label")
            return output.name, labels
    return None
