"""An ONNX graph as int8 or float16. Requires onnx; imports it, and ONNX Runtime's tools, inside the functions."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import SettingRefused

Batch = Mapping[str, npt.NDArray[Any]]
PRODUCTS = ("Conv", "MatMul", "Gemm")
"""Operations that are worth computing in int8; those between them become int8 with them."""


def check_quantizable(path: Path) -> None:
    """Refuse a graph without an operation that is worth it.

    Raises:
        SettingRefused: names the operations.
    """
    import onnx

    found = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node}
    if not found & set(PRODUCTS):
        raise SettingRefused(f"{path} has none of the operations {', '.join(PRODUCTS)}, so int8 would gain nothing")


def write_int8(source: Path, target: Path, batches: Iterable[Batch]) -> None:
    """Quantise a graph statically: weights of each channel to int8, activations to uint8, in the form QDQ.

    Weights have 7 bits (``reduce_range``): with 8, processors without VNNI instructions saturate sums of two products,
    so that answers would depend on the processor.

    Args:
        source, target: files.
        batches: of inputs by name, from which the ranges of the activations are taken.

    Source: ONNX Runtime, Quantize ONNX models (static quantisation, QDQ, when and why to try U8U8 or reduce_range).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._batches = iter(batches)

        def get_next(self) -> Batch | None:
            return next(self._batches, None)

    with TemporaryDirectory(dir=target.parent) as directory, _without_warnings():
        prepared = Path(directory, "prepared.onnx")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def write_float16(source: Path, target: Path) -> None:
    """Turn all float32 numbers inside a graph into float16; its inputs and outputs stay as they are.

    Source: ONNX Runtime, Create float16 and mixed precision models.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with _without_warnings():
        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)


def random_batches(instances: Batch, *, rows: int, size: int) -> Iterator[Batch]:
    """Batches of so many rows, drawn without replacement; the same for the same rows."""
    count = len(next(iter(instances.values())))
    chosen = np.random.default_rng(0).permutation(count)[:rows]
    for start in range(0, len(chosen), size):
        yield {name: values[chosen[start : start + size]] for name, values in instances.items()}


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Without warnings of the tools, which speak of names inside the graph."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
