"""Proves that Keras, the SavedModel, the ONNX graph and, if there is one, the file of TensorFlow Lite give the same
numbers: alone, batched, padded and unpadded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.contract.golden import Golden, magnitude
from training.errors import TrainingError
from training.export.model_export import Runner

BATCH_SIZES = (1, 2, 7, 32)
TOLERANCE = 1e-5  # float32 probabilities: 80 times the spacing of floats at 1; measured differences are below 1e-6
LITE = 10  # times the tolerance: XNNPACK sums in its own order and approximates exp; measured below 8e-6
PADDING_TOLERANCE = 2e-6  # as above; measured differences of sums over more zeros over up to 400 steps are below 6e-7

Array = npt.NDArray[Any]

# Operations that join steps, or compute each step by a product whose rounding depends on the batch (RNN, and loops).
_JOINING = ("Conv", "CumSum", "Einsum", "GlobalAveragePool", "GlobalMaxPool", "Loop", "RNN", "Scan")


class ParityBroken(TrainingError):
    """An exported graph answers differently from Keras; nothing is published."""


def check_parity(
    model: str,
    golden: Golden,
    *,
    keras: Runner,
    saved_model: Runner,
    onnx: Runner,
    tflite: Runner | None = None,
    padding_tolerance: float = 0.0,
    rounding: float = 1.0,
) -> dict[str, Any]:
    """Compare the runners on golden rows.

    The reference is ``golden.outputs``: Keras, one row at a time, without padding. Each runner gets the same rows in
    batches of ``BATCH_SIZES``, with rows of variable length padded to the longest of their batch, and again padded
    to the longest of all.

    Args:
        model: name for the message.
        golden: rows with the outputs of Keras.
        keras, saved_model, onnx: runners from ``training.export.model_export``.
        tflite: from ``training.export.lite``; None without such a file.
        padding_tolerance: see the function of this name.
        rounding: see ``training.export.rounding``.

    Returns:
        For metrics.json: for each of them, batch size -> largest absolute difference from the reference;
        under ``onnx_padding``, the same between padded and unpadded rows in ONNX.

    Raises:
        ParityBroken: a difference is above 1e-5 (TensorFlow Lite: 1e-4) times ``rounding`` and ``magnitude``, padding
            changes the ONNX answer by more than ``padding_tolerance`` times ``magnitude``, or an answer is not finite;
            names the model, the batch size and the difference.
    """
    tolerance = TOLERANCE * rounding * magnitude(golden.outputs)
    report: dict[str, Any] = {"tolerance": tolerance}
    runners = {"keras": keras, "saved_model": saved_model, "onnx": onnx, **({"tflite": tflite} if tflite else {})}
    for name, runner in runners.items():
        allowed = tolerance * LITE if name == "tflite" else tolerance
        report[name] = check_runner(f"{model}: {name}", golden, runner, tolerance=allowed, than="Keras")
    if golden.lengths:
        report["onnx_padding"] = check_padding(model, golden, onnx, tolerance=padding_tolerance)
    return report


def check_runner(
    what: str, golden: Golden, runner: Runner, *, tolerance: float, than: str, batch_sizes: Sequence[int] = BATCH_SIZES
) -> dict[str, float]:
    """Compare one runner with the golden outputs.

    Args:
        what: runs, for the message.
        golden: rows with the expected outputs.
        runner: what is checked.
        tolerance: largest absolute difference allowed; numbers without fractions, and strings, must be equal.
        than: what gave the golden outputs, for the message.
        batch_sizes: of the batches.

    Returns:
        Batch size -> largest absolute difference.

    Raises:
        ParityBroken: a difference is above the tolerance, or an answer is not finite.
    """
    found = {batch: _from_reference(golden, runner, batch) for batch in batch_sizes}
    for batch, value in found.items():
        if not value <= tolerance:  # also true for NaN
            raise ParityBroken(
                f"{what} in a batch of {batch} differs from {than} alone by {value:.3g}, "
                f"but at most {tolerance:g} is allowed"
            )
    return {str(batch): value for batch, value in found.items()}


def _from_reference(golden: Golden, runner: Runner, batch: int) -> float:
    """Largest difference from the golden outputs over all rows, in batches of ``batch``; NaN if one is not finite."""
    worst = 0.0
    for rows in _batches(golden.rows, batch):
        for widest in (False, True) if golden.lengths else (True,):
            outputs = runner(_batch(golden, rows, widest=widest))
            worst = np.fmax(worst, _distance(outputs, golden, rows))
            if not all(np.isfinite(values).all() for values in outputs.values() if values.dtype.kind == "f"):
                return float("nan")
    return float(worst)


def padding_tolerance(path: Path) -> float:
    """Largest difference that padding may make in an ONNX graph, for answers of magnitude 1.

    Returns:
        0 where only LSTM and GRU join the steps of a text: they stop at its end. Otherwise 2e-6: pooling and attention
        add zeros for the padding, which changes the order of a sum.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {value.name for value in graph.initializer}
    whole = {name for node in graph.node if node.op_type == "Cast" and _is_to_int(node) for name in node.output}
    for node in graph.node:
        joins = node.op_type in _JOINING or (node.op_type.startswith("Reduce") and node.input[0] not in whole)
        if joins or (node.op_type == "MatMul" and not constants & set(node.input)):
            return PADDING_TOLERANCE
    return 0.0


def _is_to_int(node: Any) -> bool:
    import onnx

    return any(
        each.name == "to" and each.i in {onnx.TensorProto.INT32, onnx.TensorProto.INT64} for each in node.attribute
    )


def check_padding(model: str, golden: Golden, onnx: Runner, *, tolerance: float) -> dict[str, float]:
    """Batch size -> largest difference between a row in a padded batch and the same row alone, unpadded.

    Args:
        model: name for the message.
        golden: rows of variable length.
        onnx: what is checked.
        tolerance: for answers of magnitude 1, see ``padding_tolerance``.

    Raises:
        ParityBroken: it is larger.
    """
    alone = [onnx(golden.row(index)) for index in range(golden.rows)]
    allowed = tolerance * magnitude(golden.outputs)
    found = {}
    for batch in BATCH_SIZES:
        worst = 0.0
        for rows in _batches(golden.rows, batch):
            outputs = onnx(_batch(golden, rows, widest=True))
            for place, row in enumerate(rows):
                worst = max(worst, *(float(np.abs(outputs[n][place] - alone[row][n][0]).max()) for n in outputs))
        if worst > allowed:
            raise ParityBroken(
                f"{model}: padding in a batch of {batch} changes the ONNX answer by {worst:.3g}; "
                + (f"at most {allowed:.3g} is allowed" if allowed else "it must not change it")
            )
        found[str(batch)] = worst
    return found


def _batches(rows: int, batch: int) -> list[list[int]]:
    """Row numbers in groups of exactly ``batch``; neighbours in the file differ in length, so batches are padded."""
    return [list(range(start, start + batch)) for start in range(0, rows - batch + 1, batch)]


def _batch(golden: Golden, rows: list[int], *, widest: bool) -> Mapping[str, Array]:
    """The rows as one batch, padded to the longest row of the batch, or of the whole file if ``widest``."""
    batch = {}
    for name, values in golden.inputs.items():
        chosen = values[rows]
        if name in golden.lengths and not widest:
            chosen = chosen[:, : int(golden.lengths[name][rows].max())]
        batch[name] = chosen
    return batch


def _distance(outputs: Mapping[str, Array], golden: Golden, rows: list[int]) -> float:
    """Largest absolute difference from the golden outputs; infinite if anything else differs."""
    if set(outputs) != set(golden.outputs):
        return float("inf")
    distances = [0.0]
    for name, values in outputs.items():
        expected = golden.outputs[name][rows]
        if values.shape != expected.shape:
            return float("inf")
        if expected.dtype.kind == "f":
            distances.append(float(np.abs(values.astype(np.float64) - expected.astype(np.float64)).max()))
        elif not np.array_equal(values, expected):
            return float("inf")
    return max(distances)
