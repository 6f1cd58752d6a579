"""The network of a peer, the same for every peer: ONNX Runtime, one thread; texts are split, looked up and padded.

Environment: PEER_MODEL is the ONNX file, PEER_VOCABULARY the word list of a network for texts (absent for images),
PEER_PORT the port to listen on. This file requires only numpy and ONNX Runtime.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

WORD = re.compile(r"[a-z0-9']+")
UNKNOWN_ID, FIRST_WORD_ID = 1, 2
MAX_TOKENS = 400
MAX_BATCH_SIZE = 32
"""Largest batch of every peer that batches, as in the models' own model.json."""


class Network:
    """A network and, for texts, its vocabulary."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            os.environ["PEER_MODEL"], sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name
        self._ids: dict[str, int] = {}
        if vocabulary := os.environ.get("PEER_VOCABULARY"):
            words = Path(vocabulary).read_text(encoding="utf-8").split("\n")
            self._ids = {word: index for index, word in enumerate(words, start=FIRST_WORD_ID)}

    def images(self, pixels: Any) -> Any:
        """uint8 (rows, 28, 28) to float32 (rows, 10)."""
        return self._session.run(None, {self._input: pixels})[0]

    def texts(self, texts: list[str]) -> Any:
        """Texts to float32 (rows, 2); every row is padded to the longest."""
        rows = [
            [self._ids.get(word, UNKNOWN_ID) for word in WORD.findall(text.lower())][-MAX_TOKENS:] for text in texts
        ]
        ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        return self._session.run(None, {self._input: ids})[0]


def serves_texts() -> bool:
    """Whether this process serves the network for texts instead of the one for images."""
    return "PEER_VOCABULARY" in os.environ


def port() -> int:
    """The port to listen on."""
    return int(os.environ["PEER_PORT"])
