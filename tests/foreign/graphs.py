"""The graphs, and inputs that each of them accepts."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Shape = tuple[int, ...]
SILERO_STATE = (2, 1, 128)
SAMPLE_RATE = 16_000


@dataclass(frozen=True)
class Real:
    """A graph in a published package.

    Attributes:
        name: of the model here.
        package: as the index of packages names it.
        path: of the file in the installed package, or as ``write_scikit`` writes it.
        inputs: name -> element type and shape, with the batch if there is one.
        numbers: whole numbers are drawn from 0 to this, exclusively.
        constants: name -> value, in place of drawn ones.
    """

    name: str
    package: str
    path: str
    inputs: dict[str, tuple[str, Shape]]
    numbers: int = 256
    constants: dict[str, int] | None = None

    def sample(self, seed: int) -> dict[str, Any]:
        """Input name -> array."""
        rng = np.random.default_rng(seed)
        drawn = {}
        for name, (dtype, shape) in self.inputs.items():
            if self.constants and name in self.constants:
                drawn[name] = np.full(shape, self.constants[name], dtype)
            elif dtype.startswith("int"):
                drawn[name] = rng.integers(0, self.numbers, shape).astype(dtype)
            else:
                drawn[name] = rng.normal(size=shape).astype(dtype)
        return drawn


def _ocr(part: str, file: str, shape: Shape) -> Real:
    path = f"rapidocr_onnxruntime/models/{file}"
    return Real(f"ocr-{part}", "rapidocr-onnxruntime", path, {"x": ("float32", shape)})


def _silero(variant: str, inputs: dict[str, tuple[str, Shape]]) -> Real:
    path = f"silero_vad/data/silero_vad{variant}.onnx"
    name = f"silero{variant.replace('_', '-')}"
    return Real(name, "silero-vad", path, inputs, constants={"sr": SAMPLE_RATE})


_FRAME = ("float32", (1, 512))
_STATE = ("float32", SILERO_STATE)
_RATE: tuple[str, Shape] = ("int64", ())
_CELL = ("float32", (1, 1, 128))

GRAPHS = (
    _ocr("detection", "ch_PP-OCRv4_det_infer.onnx", (2, 3, 64, 96)),
    _ocr("recognition", "ch_PP-OCRv4_rec_infer.onnx", (2, 3, 48, 160)),
    _ocr("direction", "ch_ppocr_mobile_v2.0_cls_infer.onnx", (3, 3, 48, 192)),
    Real("magika", "magika", "magika/models/standard_v3_3/model.onnx", {"bytes": ("int32", (4, 2048))}, numbers=257),
    _silero("", {"input": _FRAME, "state": _STATE, "sr": _RATE}),
    _silero("_16k_op15", {"input": _FRAME, "state": _STATE, "sr": _RATE}),
    _silero("_16k_sequence", {"input": ("float32", (7, 576)), "h": _CELL, "c": _CELL}),
    _silero("_half", {"input": _FRAME, "state": _STATE}),
    _silero("_op18_ifless", {"input": _FRAME, "state": _STATE, "sr": _RATE}),
    _silero("_openvino_16k", {"input": ("float32", (1, 576)), "state": _STATE}),
    Real("scikit-classes", "skl2onnx", "scikit-classes.onnx", {"features": ("float32", (5, 6))}),
    Real("scikit-trees", "skl2onnx", "scikit-trees.onnx", {"features": ("float32", (5, 6))}),
)
