"""The process that runs a SavedModel: ``python -m app.runtime.engines.savedmodel_worker DIRECTORY THREADS``.

Standard input is a stream socket. The worker loads the model and sends one frame with its signatures, or with the error
that prevented it. Then it answers every frame of inputs, which names a signature, with one of outputs or with an error.
It ends when the socket closes, and thus with the process that started it. TensorFlow is imported only here.
"""

import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from app.runtime.engines.savedmodel_process import HOW_TO_INSTALL
from app.runtime.engines.tensor_frames import receive_frame, send_frame
from app.types import Array, Tensors

# TensorFlow quotes whole graphs and tensors in its messages.
_LONGEST_MESSAGE = 600

# From the name of a signature and its inputs to its outputs.
Run = Callable[[str, Tensors], dict[str, Array]]


class CannotLoad(Exception):
    """The model cannot run here; the message has the reason."""


def main() -> None:
    """Load, then answer until the socket closes."""
    directory, threads = Path(sys.argv[1]), int(sys.argv[2])
    serve(lambda: load(directory, threads))
    os._exit(0)  # skip TensorFlow's clean-up, which takes longer than the kernel's


def serve(loads: Callable[[], tuple[dict[str, Any], Run]]) -> None:
    """Send what was loaded, or why loading failed; then answer frames until the other end closes the socket.

    Args:
        loads: returns the signatures like ``load``, and the function that runs a batch.
    """
    # A Ctrl-C or a supervisor's signal reaches all processes of the service. The service first finishes its requests,
    # and closes the socket when it needs no more answers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=sys.stdin.fileno()) as channel:
        threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
        try:
            try:
                signatures, run = loads()
            except Exception as error:  # noqa: BLE001 - the error is passed to the caller of the load
                send_frame(channel, {"error": _in_short(error)})
                return
            send_frame(channel, {"signatures": signatures})
            while True:
                header, inputs = receive_frame(channel)
                try:
                    outputs = run(header["signature"], inputs)
                except Exception as error:  # noqa: BLE001 - the boundary of a batch: the error is its answer
                    send_frame(channel, {"error": _in_short(error)})
                else:
                    send_frame(channel, {}, outputs)
        except (EOFError, OSError):
            return  # the service is gone


def _end_with(channel: socket.socket) -> None:
    """End the process once the other end hangs up, even during a load or a batch."""
    hang_up = select.poll()
    hang_up.register(channel, 0)
    hang_up.poll()
    os._exit(0)


def load(directory: Path, threads: int) -> tuple[dict[str, Any], Run]:
    """Load the SavedModel of a directory on the CPU.

    Args:
        directory: contains saved_model.pb and variables/.
        threads: threads of one operation.

    Returns:
        Signature -> {"inputs": ..., "outputs": ...}, each name -> [element type, sizes with the batch], a size that
        varies as None, and None in place of the sizes if their number is unknown; and the function that runs a batch.

    Raises:
        CannotLoad: TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise CannotLoad(f"TensorFlow cannot be imported ({error}); {HOW_TO_INSTALL}") from error
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(directory))
    functions = dict(loaded.signatures)
    signatures = {
        name: {
            "inputs": _described(function.structured_input_signature[1]),
            "outputs": _described(function.structured_outputs),
        }
        for name, function in functions.items()
    }

    def run(signature: str, inputs: Tensors) -> dict[str, Array]:
        outputs = functions[signature](**{name: tf.constant(values) for name, values in inputs.items()})
        return {
            name: np.asarray(values.numpy(), object if values.dtype == tf.string else None)
            for name, values in outputs.items()
        }

    run.loaded = loaded  # type: ignore[attr-defined]  # a signature references its variables only weakly
    return signatures, run


def _described(tensors: dict[str, Any]) -> dict[str, list[Any]]:
    """Name -> [element type, sizes], by name: TensorFlow's own order differs from process to process."""
    return {
        name: [tensor.dtype.name, None if tensor.shape.rank is None else tensor.shape.as_list()]
        for name, tensor in sorted(tensors.items())
    }


def _in_short(error: Exception) -> str:
    """The message of an error, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."


if __name__ == "__main__":
    main()
