"""Outputs in the Open Inference Protocol: which ones, in which form, as JSON or as bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.contract.bfloat16 import narrowed
from app.contract.labels import best_classes
from app.contract.strings import length_prefixed
from app.contract.tensor_spec import TensorSpec
from app.edge.codec.datatypes import BYTES
from app.edge.codec.json_dump import dump
from app.edge.respond import Header, Reply
from app.edge.shared_memory.parts import Part
from app.edge.shared_memory.regions import Memory
from app.errors import InvalidInput, quoted
from app.loaded import LoadedModel
from app.types import Array

OCTETS: Header = (b"content-type", b"application/octet-stream")


@dataclass(frozen=True, slots=True)
class Requested:
    """One requested output of the reply.

    Attributes:
        name: name in the signature.
        binary: as bytes after the JSON.
        class_count: number of best classes to return instead of the tensor; 0 returns the tensor.
        part: where to write it in shared memory, in place of the reply; None: into the reply.
    """

    name: str
    binary: bool = False
    class_count: int = 0
    part: Part | None = None


@dataclass(slots=True)
class Printed:
    """One output, ready to be encoded.

    Attributes:
        name, datatype, shape: as the protocol names them.
        values: a tensor of numbers, of BF16 its bits; None for BYTES.
        elements: of BYTES, in row-major order.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    values: Array | None
    elements: Sequence[bytes] = ()

    def raw(self) -> bytes:
        """Little-endian, row-major bytes."""
        if self.values is None:
            return length_prefixed(self.elements)
        return self.values.astype(self.values.dtype.newbyteorder("<"), copy=False).tobytes()

    def plain(self) -> Array | list[str]:
        """Flat values for JSON.

        Raises:
            InvalidInput: an element of BYTES is not UTF-8, and JSON cannot represent it.
        """
        if self.values is not None:
            return self.values.reshape(-1)
        try:
            return [element.decode() for element in self.elements]
        except UnicodeDecodeError:
            raise InvalidInput(
                f"output {self.name!r} holds strings that are not UTF-8, which JSON cannot hold; request it as binary "
                "data"
            ) from None


def check_requested(requested: Sequence[Requested], model: LoadedModel) -> None:
    """Refuse outputs that the model does not have, that are requested twice, or that cannot be classified.

    Raises:
        InvalidInput: names the output.
    """
    known = {tensor.name for tensor in model.spec.outputs}
    seen: set[str] = set()
    for one in requested:
        if one.name not in known:
            raise InvalidInput(
                f"unexpected inference output {quoted(one.name)} for model {model.name!r}; it has "
                f"{', '.join(map(repr, sorted(known)))}"
            )
        if one.name in seen:
            raise InvalidInput(f"output {quoted(one.name)} is requested twice")
        seen.add(one.name)
        count: Any = one.class_count
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise InvalidInput(
                f"'classification' of output {quoted(one.name)} is {quoted(count)}; send a whole number of classes"
            )
        if count and model.spec.output(one.name).is_string:
            raise InvalidInput(f"output {quoted(one.name)} holds strings, which are not classified")


def check_binary(requested: Sequence[Requested], model: LoadedModel) -> None:
    """Refuse outputs in JSON that are sent as bytes only.

    Raises:
        InvalidInput: names the output.
    """
    for one in requested:
        if one.name in model.spec.binary_only and not (one.binary or one.class_count or one.part is not None):
            datatype = model.spec.output(one.name).oip_datatype
            raise InvalidInput(
                f"output {one.name!r} has datatype {datatype}, which JSON cannot hold; request it as binary data"
            )


def printed_outputs(
    answer: Mapping[str, Array], requested: Sequence[Requested], model: LoadedModel
) -> list[tuple[Requested, Printed]]:
    """The requested outputs, each in its requested form."""
    return [(one, _printed(answer[one.name], one, model.spec.output(one.name), model)) for one in requested]


def print_infer(
    answer: Mapping[str, Array], requested: Sequence[Requested], model: LoadedModel, request_id: str, memory: Memory
) -> Reply:
    """The reply to ``infer``: JSON, followed by the bytes of the outputs that were requested as binary.

    Outputs that were requested in shared memory are written there; the reply has their name, datatype and shape alone.

    Source: Triton, src/http_server.cc, FinalizeResponse. Its C++ client refuses parameters without binary_data_size.
    """
    entries: list[dict[str, Any]] = []
    tail: list[bytes] = []
    size = 0  # of the JSON
    for one, output in printed_outputs(answer, requested, model):
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if one.part is not None:
            memory.write(one.part, output.raw())
        elif one.binary:
            raw = output.raw()
            tail.append(raw)
            entry["parameters"] = {"binary_data_size": len(raw)}
        else:
            entry["data"] = data = output.plain()
            size += len(data)
        entries.append(entry)
    document: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version), "outputs": entries}
    if request_id:
        document = {"id": request_id, **document}
    head = dump(document, size=size)
    if not tail:
        return Reply(200, head)
    length = (b"inference-header-content-length", str(len(head)).encode())
    return Reply(200, b"".join((head, *tail)), (OCTETS, length))


def _printed(values: Array, one: Requested, spec: TensorSpec, model: LoadedModel) -> Printed:
    if spec.is_string:
        return Printed(one.name, BYTES, values.shape, None, list(values.ravel()))
    if not one.class_count:
        return Printed(one.name, spec.oip_datatype, values.shape, narrowed(values) if spec.is_bfloat16 else values)
    scores = values.reshape(values.shape[0] if values.ndim else 1, -1)
    step = model.spec.postprocessing
    labels = model.classes if step is not None and step.output == one.name else ()
    best = best_classes(scores, min(one.class_count, scores.shape[1]))
    elements = [_class(scores[row, index], int(index), labels) for row, top in enumerate(best) for index in top]
    return Printed(one.name, BYTES, best.shape, None, elements)


def _class(score: np.generic, index: int, labels: Sequence[str]) -> bytes:
    """``<value>:<index>[:<label>]``. Source: Triton, classification extension."""
    value = f"{score:f}"  # six digits after the point, as std::to_string writes them
    return (f"{value}:{index}:{labels[index]}" if labels else f"{value}:{index}").encode()
