"""Inputs for the servers, and the right answers: drawn garments and random sentences, from no data set.

The peers serve the published network for images. For texts they serve the converter's output for the same SavedModel
without the project's own graph pass: a masked LSTM as an ONNX ``Loop``.
"""

import hashlib
import io
import re
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.errors import Unavailable

IMAGE_MODEL, OTHER_IMAGE_MODEL, TEXT_MODEL = "fashion-mnist-mlp", "fashion-mnist-cnn", "imdb-sentiment-lstm"
DISTINCT_IMAGES, DISTINCT_TEXTS = 10_000, 64
"""Numbers of different bodies that a load generator cycles through: nothing that is kept by body would help."""
SHORTEST_TOKENS, LONGEST_TOKENS = 5, 250
LARGE_BATCH = 256
MOST_CHANGE = 40
"""Largest change of an intensity between two images that are drawn alike."""


class Samples:
    """Inputs and their expected outputs.

    Args:
        models: directory of the published models.
        work: directory for files that can be recreated.
    """

    def __init__(self, models: Path, work: Path) -> None:
        self.models = models
        self.image_model, self.other_image_model = (
            models / name / "1" / "model.onnx" for name in (IMAGE_MODEL, OTHER_IMAGE_MODEL)
        )
        self._text_version = models / TEXT_MODEL / "2"
        self.vocabulary = self._text_version / "vocabulary.txt"
        self._work = work

    @cached_property
    def images(self) -> Any:
        """uint8 (DISTINCT_IMAGES, 28, 28), all different: drawn garments, each pixel a little brighter or darker."""
        from training.datasets.drawn.synthetic import fashion_images

        drawn = fashion_images(LARGE_BATCH, seed=11)[0].astype(np.int16)
        images = np.resize(drawn, (DISTINCT_IMAGES, *drawn.shape[1:]))
        change = np.random.default_rng(13).integers(-MOST_CHANGE, MOST_CHANGE, images.shape, endpoint=True)
        return np.where(images > 0, np.clip(images + change, 0, 255), 0).astype(np.uint8)

    @cached_property
    def texts(self) -> list[str]:
        """Sentences of evenly spread lengths, in random order; the model knows every word."""
        words = self.vocabulary.read_text(encoding="utf-8").split("\n")
        plain = [word for word in words if re.fullmatch("[a-z]+", word)]
        rng = np.random.default_rng(12)
        lengths = rng.permutation(np.linspace(SHORTEST_TOKENS, LONGEST_TOKENS, DISTINCT_TEXTS).round().astype(int))
        # Frequent words are chosen more often, as in real text.
        return [" ".join(plain[int(len(plain) * draw**3)] for draw in rng.random(length)) for length in lengths]

    @cached_property
    def image_answers(self) -> Any:
        """float32 (DISTINCT_IMAGES, 10), from ONNX Runtime."""
        return _session(self.image_model).run(None, {"pixels": self.images})[0]

    @cached_property
    def other_image_answers(self) -> Any:
        """As ``image_answers``, of OTHER_IMAGE_MODEL for the first DISTINCT_TEXTS images."""
        return _session(self.other_image_model).run(None, {"pixels": self.images[:DISTINCT_TEXTS]})[0]

    @cached_property
    def text_answers(self) -> Any:
        """float32 (DISTINCT_TEXTS, 2), each text alone."""
        from app.contract.tokenizer import Tokenizer

        tokenizer = Tokenizer.read(self.vocabulary, max_length=400, keep="last")
        session = _session(self._text_version / "model.onnx")
        rows = [session.run(None, {"token_ids": tokenizer.encode(text)[np.newaxis]})[0] for text in self.texts]
        return np.concatenate(rows)

    def loop_model(self) -> Path:
        """tf2onnx's conversion of the SavedModel for texts; converted once.

        Raises:
            Unavailable: the training tools are not installed, or the converter no longer makes a ``Loop``.
        """
        digest = hashlib.sha256((self._text_version / "saved_model.pb").read_bytes()).hexdigest()[:12]
        path = self._work / f"{TEXT_MODEL}-loop-{digest}.onnx"
        if not path.exists():
            _convert(self._text_version, path)
        return path


def png(image: Any) -> bytes:
    """A picture file of one image."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, sess_options=options, providers=["CPUExecutionProvider"])


def _convert(version: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    command = ["-m", "tf2onnx.convert", "--saved-model", str(version), "--opset", "17", "--output", str(fresh)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"the Loop export of {TEXT_MODEL} requires `make train-install`: {last}")
    import onnx

    if "Loop" not in {node.op_type for node in onnx.load(fresh).graph.node}:
        raise Unavailable("the converter no longer makes a Loop: there is nothing to compare with")
    fresh.rename(path)
