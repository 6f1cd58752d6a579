"""The models of the check, and requests of every kind to them."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.tiny_models import (
    SIDE,
    write_brightness_model,
    write_rule_model,
    write_verse_model,
    write_words_model,
)

GREYS = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE) * 16
RAW = {"content-type": "application/octet-stream"}


@dataclass(frozen=True)
class Question:
    """One request."""

    path: str
    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


def write_models(models: Path) -> Path:
    """Four models: of images, texts and numbers, and one that writes text."""
    for write in (write_brightness_model, write_words_model, write_rule_model, write_verse_model):
        write(models)
    return models


def png() -> bytes:
    """A picture for the model of images."""
    file = io.BytesIO()
    Image.fromarray(GREYS).save(file, format="PNG")
    return file.getvalue()


def questions() -> list[Question]:
    """Routes of both protocols, for all models, and errors."""
    binary = json.dumps(
        {
            "inputs": [
                {
                    "name": "pixels",
                    "datatype": "UINT8",
                    "shape": [1, SIDE, SIDE],
                    "parameters": {"binary_data_size": SIDE * SIDE},
                }
            ],
            "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
        }
    ).encode()
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1.5, -2]}
    text = {"name": "token_ids", "datatype": "BYTES", "shape": [1], "data": ["good film"]}
    return [
        Question("/v1/models/brightness:predict", _json({"instances": [GREYS.tolist()]})),
        Question("/v1/models/brightness/versions/1:predict", GREYS.tobytes(), headers=RAW),
        Question("/v1/models/brightness:classify?top_k=2", png()),
        Question("/v1/models/words:classify", b"a good good film"),
        Question("/v1/models/rule:predict", _json({"inputs": {"x": [[1.5], [2.5]]}})),
        Question("/v2/models/rule/infer", _json({"id": "7", "inputs": [tensor]})),
        Question("/v2/models/words/infer", _json({"inputs": [text]})),
        Question(
            "/v2/models/brightness/infer",
            binary + GREYS.tobytes(),
            headers={"inference-header-content-length": str(len(binary))},
        ),
        Question("/v2/models/verse/generate", _json({"text_input": "the", "max_tokens": 3, "temperature": 0})),
        Question("/v2/models/verse/generate_stream", _json({"text_input": "the", "max_tokens": 3, "temperature": 0})),
        Question("/v1/models/brightness", method="GET"),
        Question("/v1/models/brightness/metadata", method="GET"),
        Question("/v2/models/words", method="GET"),
        Question("/v2/models/words/ready", method="GET"),
        Question("/v2/health/live", method="GET"),
        Question("/v2/health/ready", method="GET"),
        Question("/v1/models", method="GET"),
        Question("/v2/models", method="GET"),
        Question("/v2/repository/index"),
        Question("/v2", method="GET"),
        Question("/docs", method="GET"),
        Question("/", method="GET", headers={"accept": "text/html"}),
        Question("/v1/models/brightness:predict", _json({"instances": [[1, 2]]})),
        Question("/v1/models/brightness:predict", b"{"),
        Question("/v1/models/nothing:predict", b"{}"),
        Question("/v1/models/brightness/versions/9:predict", GREYS.tobytes(), headers=RAW),
        Question("/v1/models/brightness:predict", method="GET"),
        Question("/v3/nothing", method="GET"),
        Question("/v1/models/brightness:predict", b"0" * (17 * 2**20)),
    ]


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
