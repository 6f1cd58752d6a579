"""Valid input of each form as seeds; drawn and written here, from no data set."""

import gzip
import io
import json
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.contract.golden import GOLDEN_FILE, Golden, RawSample
from benchmarks.fuzzing.models import SIDE

_PIXELS = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
BOUNDARY = "seed"


def images() -> list[bytes]:
    """Small images in every format and many modes."""
    generator = np.random.default_rng(0)
    colour = Image.fromarray(generator.integers(0, 256, (9, 7, 3)).astype(np.uint8))
    forms: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (Image.fromarray(_PIXELS), "PNG", {}),
        (colour, "PNG", {"optimize": True}),
        (colour.convert("RGBA"), "PNG", {}),
        (colour.convert("P"), "PNG", {"transparency": 3}),
        (colour.convert("1"), "PNG", {}),
        (Image.fromarray(generator.integers(0, 65536, (5, 6)).astype(np.uint16)), "PNG", {}),
        (colour, "JPEG", {"quality": 80}),
        (colour, "JPEG", {"progressive": True, "exif": b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"}),
        (colour.convert("CMYK"), "JPEG", {}),
        (colour.convert("P"), "GIF", {"save_all": True, "append_images": [colour.convert("P")]}),
        (colour, "BMP", {}),
        (colour.convert("1"), "BMP", {}),
        (colour, "WEBP", {}),
        (colour.convert("RGBA"), "WEBP", {"lossless": True}),
        (colour, "TIFF", {}),
        (colour, "TIFF", {"compression": "tiff_lzw"}),
        (colour, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (Image.fromarray(generator.random((4, 4)).astype(np.float32)), "TIFF", {}),
        (colour.convert("L"), "TIFF", {"compression": "packbits"}),
    ]
    return [_encoded(*form) for form in forms]


def _encoded(image: Image.Image, form: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def predict_image() -> list[bytes]:
    """``:predict`` of an image model."""
    return _documents(
        {"instances": [_PIXELS.tolist()]},
        {"instances": [{"b64": _b64()}, {"b64": _b64()}]},
        {"signature_name": "serving_default", "instances": [{"image": {"b64": _b64()}}]},
        {"inputs": {"pixels": [_PIXELS.tolist()] * 2}},
        {"inputs": [_PIXELS.tolist()]},
    )


def predict_text() -> list[bytes]:
    """``:predict`` of a text model."""
    return _documents(
        {"instances": ["A good film!", "naïve ☃"]},
        {"instances": [[2, 3, 4]]},
        {"instances": [{"text": "bad film"}]},
        {"inputs": {"token_ids": [[2, 3], [4, 4]]}},
        {"inputs": "don't"},
    )


def predict_numbers() -> list[bytes]:
    """``:predict`` of a model with two inputs."""
    nan = b'{"instances": [{"x": [NaN, -Infinity], "count": 3}]}'
    return [
        nan,
        *_documents(
            {"instances": [{"x": [1.5, -2e3], "count": 3}, {"x": [0, 1], "count": 9}]},
            {"inputs": {"x": [[1.0, 2.0]], "count": [1]}},
        ),
    ]


def examples() -> list[bytes]:
    """``:classify`` and ``:regress``."""
    return _documents(
        {"examples": [{"text": "a good film"}]},
        {"examples": ["bad", "good"]},
        {"context": {"count": 2}, "examples": [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0]}]},
        {"examples": [{"b64": _b64()}]},
        {"examples": [{"image": {"b64": _b64()}}]},
    )


def infer_json() -> list[bytes]:
    """Open Inference Protocol in JSON, for every model."""
    pixels = {"name": "pixels", "datatype": "UINT8", "shape": [1, SIDE, SIDE], "data": _PIXELS.ravel().tolist()}
    ids = {"name": "token_ids", "datatype": "INT32", "shape": [1, 3], "data": [[2, 3, 4]]}
    texts = {"name": "token_ids", "datatype": "BYTES", "shape": [2], "data": ["a good film", "ünd"]}
    x = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -1]}
    count = {"name": "count", "datatype": "INT32", "shape": [1], "data": [4]}
    best = {"name": "probabilities", "parameters": {"classification": 1, "binary_data": False}}
    return _documents(
        {"id": "7", "inputs": [pixels], "outputs": [best], "parameters": {"priority": 1, "timeout": 1000}},
        {"inputs": [ids]},
        {"inputs": [texts], "parameters": {"binary_data_output": True}},
        {"inputs": [x, count], "outputs": [{"name": "y"}]},
    )


def infer_binary() -> list[bytes]:
    """The same with bytes after the JSON; two bytes in front give the length of the JSON."""
    parts = []
    for name, datatype, shape, raw in (
        ("pixels", "UINT8", [1, SIDE, SIDE], _PIXELS.tobytes()),
        ("token_ids", "INT32", [1, 3], struct.pack("<3i", 2, 3, 4)),
        ("token_ids", "INT16", [1, 2], struct.pack("<2h", 2, 3)),
        ("token_ids", "BYTES", [1], struct.pack("<I", 4) + b"good"),
        ("x", "FP16", [1, 1], b"\x00\x3c"),
    ):
        entry = {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}
        head = json.dumps({"id": "a", "inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
        parts.append(struct.pack("<H", len(head)) + head + raw)
    return [*parts, struct.pack("<H", 0) + _PIXELS.tobytes(), struct.pack("<H", 0) + struct.pack("<3i", 2, 3, 4)]


def generate() -> list[bytes]:
    """Triton's generate extension."""
    return _documents(
        {"text_input": "the king", "parameters": {"max_tokens": 3, "temperature": 0.5, "seed": 1, "stop": ["x", "y"]}},
        {"id": "1", "text_input": "the", "top_k": 2, "stream": True, "priority": 1, "timeout": 5, "stop": "z"},
    )


def media() -> list[bytes]:
    """A Content-Type, a line end and a body."""
    form = "multipart/form-data; boundary=" + BOUNDARY
    photo = _encoded(Image.fromarray(_PIXELS), "PNG", {})
    bodies = [
        (form, _multipart(photo, b"a.png")),
        (form, _multipart(b"a good film", None)),
        ("text/plain; charset=utf-8", "naïve film".encode()),
        ("application/x-www-form-urlencoded", b"text=a+good%20film&text=bad"),
        ("application/octet-stream", _PIXELS.tobytes() * 2),
        ("application/octet-stream", struct.pack("<f", 1.5)),
        ("image/png", photo),
        ("", photo),
    ]
    return [kind.encode() + b"\n" + body for kind, body in bodies]


def _multipart(data: bytes, filename: bytes | None) -> bytes:
    name = b'; filename="' + filename + b'"\r\nContent-Type: image/png' if filename else b""
    part = b'Content-Disposition: form-data; name="f"' + name + b"\r\n\r\n" + data + b"\r\n"
    edge = b"--" + BOUNDARY.encode()
    return edge + b"\r\n" + part + edge + b"\r\n" + part + edge + b"--\r\n"


def compressed() -> list[bytes]:
    """A letter for the encoding, and its stream."""
    return [b"g" + gzip.compress(b'{"instances": [1]}' * 9, mtime=0), b"d" + zlib.compress(b"x" * 500)]


def heads() -> list[bytes]:
    """Request headers, one per line."""
    return [
        b"content-type: application/json\ncontent-length: 12\ninference-header-content-length: 5",
        b"content-encoding: gzip\naccept-encoding: gzip;q=0.5, deflate, *;q=0",
    ]


def texts() -> list[bytes]:
    """Texts for the tokenizer."""
    return [b"A good <br/> film! Don't.", "naïve ☃ ﬁlm ’ e\u0301 İ".encode(), b"'''a'b' <<<>"]


def golden_files() -> list[bytes]:
    """golden.npz."""
    golden = Golden(
        inputs={"x": np.ones((64, 2), np.float32)},
        lengths={"x": np.ones(64, np.int32)},
        outputs={"y": np.zeros((64, 1), np.float32)},
        tolerance={"default": 1e-5},
        raw=(RawSample(name="a.txt", data=b"good", label="positive"),),
    )
    with tempfile.TemporaryDirectory() as place:
        golden.write(Path(place))
        return [(Path(place) / GOLDEN_FILE).read_bytes()]


def manifests() -> list[bytes]:
    """manifest.json."""
    entry = {"size": 3, "sha256": "0" * 64}
    return _documents({"files": {"model.onnx": entry, "a/b.txt": entry}}, {"files": {}})


def _documents(*documents: Any) -> list[bytes]:
    return [json.dumps(document).encode() for document in documents]


def _b64() -> str:
    import base64

    return base64.b64encode(_encoded(Image.fromarray(_PIXELS), "PNG", {})).decode()
