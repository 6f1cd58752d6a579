"""Requests of the soak: good ones in every form with their right answers, and bad ones."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.golden import Golden
from app.contract.model_spec import ONNX_FILE, ModelSpec
from app.contract.steps import ImagePreprocessing, TextPreprocessing
from app.contract.tokenizer import Tokenizer
from app.contract.transforms import image_to_instance
from app.runtime.engines.onnx import OnnxBackend

JSON = {"Content-Type": "application/json"}
BYTES = {"Content-Type": "application/octet-stream"}
HEADER_LENGTH = "Inference-Header-Content-Length"
DISTINCT = 8
"""Number of different requests of each form."""
LONGEST_TEXT = 60
DATATYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


@dataclass(frozen=True)
class Ask:
    """One request and its expected result.

    Attributes:
        kind: form, for the table.
        answer: float (rows, ...) of the first output; None for a bad request, which must be refused with 4xx.
        tolerance: largest allowed difference.
    """

    kind: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "POST"
    answer: Any = None
    tolerance: float = 0.0

    def is_right(self, status: int, body: bytes, json_length: int | None) -> bool:
        """Whether a good request got its answer, or a bad one was refused."""
        if self.answer is None:
            return 400 <= status < 500
        found = _read(body, json_length)
        return found.shape == self.answer.shape and bool(np.abs(found - self.answer).max() <= self.tolerance)


@dataclass(frozen=True)
class Tensors:
    """A request for the gRPC client: the first input's tensor and the answer."""

    model: str
    name: str
    values: Any
    answer: Any
    tolerance: float


@dataclass
class Asks:
    """All requests for some models."""

    good: list[Ask] = field(default_factory=list)
    bad: list[Ask] = field(default_factory=list)
    grpc: list[Tensors] = field(default_factory=list)


def asks_for(versions: list[Path], *, seed: int = 5) -> Asks:
    """Requests for published versions; the answers are computed once, outside of the service.

    Args:
        versions: directories of versions, each of another model with one input.
        seed: of the random inputs.
    """
    asks, random = Asks(), np.random.default_rng(seed)
    for version in versions:
        spec, golden = ModelSpec.read(version), Golden.read(version)
        backend = OnnxBackend(version / ONNX_FILE, spec, 1)
        _add_good(asks, version, spec, golden, backend, random)
        backend.close()
        asks.bad += _bad(spec)
    return asks


def _add_good(
    asks: Asks, version: Path, spec: ModelSpec, golden: Golden, backend: OnnxBackend, random: np.random.Generator
) -> None:
    tensor, output = spec.inputs[0].name, spec.outputs[0].name
    tolerance = golden.tolerance_for(backend.provider)
    predict, infer = f"/v1/models/{spec.name}:predict", f"/v2/models/{spec.name}/infer"

    def add(kind: str, path: str, body: bytes, headers: Mapping[str, str], instances: Any) -> None:
        answer = backend.run({tensor: instances})[output]
        asks.good.append(Ask(kind, path, body, headers, answer=answer, tolerance=tolerance))

    for index in range(DISTINCT):
        values = golden.row(index)[tensor]
        add("V1 JSON", predict, _dumps({"instances": values.tolist()}), JSON, values)
        head, data = _v2_binary(tensor, values)
        add("V2 binary", infer, head + data, BYTES | {HEADER_LENGTH: str(len(head))}, values)
        asks.grpc.append(Tensors(spec.name, tensor, values, backend.run({tensor: values})[output], tolerance))
        if not golden.lengths:
            chosen = [golden.row((index + more) % golden.rows)[tensor] for more in range(2 + index % 4)]
            several = np.concatenate(chosen)
            add("several in V1 JSON", predict, _dumps({"instances": several.tolist()}), JSON, several)
            head, data = _v2_binary(tensor, several)
            add("several in V2 binary", infer, head + data, BYTES | {HEADER_LENGTH: str(len(head))}, several)
            add("several as bytes", predict, several.tobytes(), BYTES, several)
        step = spec.preprocessing
        if isinstance(step, ImagePreprocessing):
            picture = _png(random)
            instance = image_to_instance(picture, preprocessing=step, target=spec.input(step.input))
            add("PNG", predict, picture, {"Content-Type": "image/png"}, instance[np.newaxis])
        elif isinstance(step, TextPreprocessing):
            tokenizer = Tokenizer.read(
                version / step.vocabulary, max_length=step.max_length, keep=step.keep, scheme=step.scheme
            )
            text = _text(tokenizer, random)
            ids = tokenizer.encode(text)[np.newaxis]
            add("text", predict, text.encode(), {"Content-Type": "text/plain"}, ids)
            add("V1 JSON with text", predict, _dumps({"instances": [text]}), JSON, ids)


def _bad(spec: ModelSpec) -> list[Ask]:
    """Bad requests of every kind, which must be refused."""
    predict, infer = f"/v1/models/{spec.name}:predict", f"/v2/models/{spec.name}/infer"
    unknown = {"name": "nonsense", "datatype": "FP32", "shape": [1], "data": [0]}
    large = {"name": spec.inputs[0].name, "datatype": "UINT8", "shape": [1, 2**40], "data": [0]}
    plain = {"Content-Type": "text/plain"}
    return [
        Ask("broken JSON", predict, b'{"instances": [[1, 2', JSON),
        Ask("no instances", predict, b"{}", JSON),
        Ask("wrong shape", predict, b'{"instances": [[[[[1]]]]]}', JSON),
        Ask("wrong type", predict, b'{"instances": [{"a": "b"}]}', JSON),
        Ask("empty text", predict, b"  ", plain),
        Ask("no UTF-8", predict, b"\xff\xfe\xfa", plain),
        Ask("broken image", predict, _png(np.random.default_rng(0))[:700], {"Content-Type": "image/png"}),
        Ask("no image", predict, b"GIF89a but no more", {"Content-Type": "image/gif"}),
        Ask("broken gzip", predict, b"\x1f\x8b nonsense", JSON | {"Content-Encoding": "gzip"}),
        Ask("wrong number of bytes", predict, b"123", BYTES),
        Ask("unknown input", infer, _dumps({"inputs": [unknown]}), JSON),
        Ask("wrong size", infer, _dumps({"inputs": [large]}), JSON),
        Ask("wrong header length", infer, b"{}", BYTES | {HEADER_LENGTH: "9999"}),
        Ask("unknown version", f"/v1/models/{spec.name}/versions/999999:predict", b'{"instances": [1]}', JSON),
        Ask("unknown label", f"/v1/models/{spec.name}/labels/nobody:predict", b'{"instances": [1]}', JSON),
        Ask("wrong verb", f"/v1/models/{spec.name}:dance", b"{}", JSON),
        Ask("wrong method", predict, b"", {}, "GET"),
        Ask("unknown model", "/v1/models/no-such-model:predict", b'{"instances": [1]}', JSON),
        Ask("unknown route", "/v3/anything", b"{}", JSON),
        Ask("too large", predict, b"[" + b"1," * (9 << 20), JSON),
    ]


def _read(body: bytes, json_length: int | None) -> Any:
    document = json.loads(body if json_length is None else body[:json_length])
    if "predictions" in document:
        return np.array(document["predictions"], np.float64)
    output = document["outputs"][0]
    flat = np.frombuffer(body[json_length:], "<f4") if json_length is not None else np.array(output["data"])
    return flat.reshape(output["shape"])


def _v2_binary(name: str, values: Any) -> tuple[bytes, bytes]:
    data = np.ascontiguousarray(values).tobytes()
    tensor: dict[str, Any] = {"name": name, "datatype": DATATYPES[str(values.dtype)], "shape": list(values.shape)}
    tensor["parameters"] = {"binary_data_size": len(data)}
    return _dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}), data


def _png(random: np.random.Generator) -> bytes:
    """A picture of some blocks, 64 to 200 pixels along each edge."""
    from PIL import Image

    small = Image.fromarray(random.integers(0, 256, (6, 6, 3)).astype(np.uint8))
    width, height = (int(side) for side in random.integers(64, 200, 2))
    file = io.BytesIO()
    small.resize((width, height)).save(file, format="PNG")
    return file.getvalue()


def _text(tokenizer: Tokenizer, random: np.random.Generator) -> str:
    words = [name for name in tokenizer.names if re.fullmatch("[a-z]+", name)]
    return " ".join(random.choice(words, int(random.integers(3, LONGEST_TEXT))))


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
