"""The inside of a process that runs a model: it loads, then answers frames until its socket closes.

Standard input is a stream socket. The worker loads the model and sends one frame with its signatures, or with the error
that prevented it. Then it answers every frame of inputs, which names a signature, with one of outputs or with an error.
It ends when the socket closes, and thus with the process that started it.
"""

import fcntl
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from app.runtime.engines.tensor_frames import receive_frame, send_frame
from app.types import Array, Tensors

HOW_TO_INSTALL = "to serve SavedModels: make serve SAVEDMODEL=1, or pip install -r requirements/savedmodel.txt"
# TensorFlow quotes whole graphs and tensors in its messages.
_LONGEST_MESSAGE = 600

# Environment variable with the number of a pipe, whose other end the service has.
LIFELINE = "ATELIER_LIFELINE"

# From a header, with the name of a signature, and inputs to outputs.
Run = Callable[[dict[str, Any], Tensors], dict[str, Array]]


class CannotLoad(Exception):
    """The model cannot run here; the message has the reason."""


def serve(loads: Callable[[], tuple[dict[str, Any], Run]]) -> None:
    """Send what was loaded, or why loading failed; then answer frames until the other end closes the socket.

    Args:
        loads: returns the signatures like ``load``, and the function that runs a batch.
    """
    # A Ctrl-C or a supervisor's signal reaches all processes of the service. The service first finishes its requests,
    # and closes the socket when it needs no more answers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    end_with_the_service()
    with socket.socket(fileno=_own_standard_input()) as channel:
        # A child would keep it open, and the service would wait for the answer of a process that has ended.
        os.register_at_fork(after_in_child=channel.close)
        threading.Thread(target=_end_with, args=(channel,), daemon=True).start()
        try:
            try:
                signatures, run = loads()
            except BaseException as error:  # noqa: BLE001 - the error is passed to the caller of the load
                send_frame(channel, {"error": _in_short(error)})
                return
            send_frame(channel, {"signatures": signatures})
            while True:
                header, inputs = receive_frame(channel)
                try:
                    outputs = run(header, inputs)
                except BaseException as error:  # noqa: BLE001 - the boundary of a batch: the error is its answer
                    send_frame(channel, {"error": _in_short(error)})
                else:
                    send_frame(channel, {}, outputs)
        except (EOFError, OSError):
            return  # the service is gone


def end_with_the_service() -> None:
    """Let the kernel end this process and its children when the service has ended, whatever they do at the time.

    A thread that waits for it could not run while the code of a model holds the interpreter's lock. The end of the
    pipe's last writer raises SIGIO, which ends a process that does not handle it. Source: fcntl(2), F_SETOWN.
    """
    lifeline = int(os.environ.pop(LIFELINE, "-1"))
    if lifeline >= 0:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _own_standard_input() -> int:
    """The socket, no longer as standard input: children of a model would keep it open when this process has ended."""
    own = os.dup(sys.stdin.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return own


def _end_with(channel: socket.socket) -> None:
    """End the process once the other end hangs up, even during a load or a batch."""
    hang_up = select.poll()
    hang_up.register(channel, 0)
    hang_up.poll()
    os._exit(0)


def _in_short(error: BaseException) -> str:
    """The message of an error, on one line, in characters that can be sent."""
    try:
        text = " ".join(str(error).encode(errors="replace").decode().split()) or type(error).__name__
    except Exception:  # noqa: BLE001 - its method __str__ is code of a model, too
        text = type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} ..."
