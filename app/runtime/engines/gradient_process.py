"""A second process of a SavedModel, for gradients: predictions in the first one never wait for it."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from app.errors import BackendFailed, InvalidInput
from app.runtime.engines.kept_process import KeptProcess
from app.runtime.engines.tensor_frames import FrameTooLarge
from app.types import Array, Tensors

log = logging.getLogger("atelier.runtime")

LIMIT_S = 60.0
"""Most seconds of the gradients of one instance, with the graph that the first of them make."""
IDLE_S = 120.0
"""A process that nobody has asked for so long is ended: it holds the model a second time."""


class GradientProcess:
    """Starts with the first question. It gives way to every other process, and ends when nobody asks.

    Args:
        start: makes the process.
        what: the model, for messages.
        idle_s: see ``IDLE_S``.
    """

    def __init__(self, start: Callable[[], KeptProcess], what: str, *, idle_s: float = IDLE_S) -> None:
        self._start, self._what, self._idle_s = start, what, idle_s
        self._lock = threading.Lock()
        self._kept: KeptProcess | None = None
        self._used_at = 0.0
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        kept = self._kept
        return None if kept is None else kept.pid

    def scores(self, signature: str, variants: Tensors, *, output: str, target: int) -> dict[str, Array]:
        """See ``PathGradients.scores``.

        Raises:
            InvalidInput: the signature cannot be differentiated.
            BackendFailed: the process ended or took too long, or the backend is closed.
        """
        asked = {"output": output, "target": target}
        with self._lock:
            if self._kept is None and not self._is_closed:
                self._kept = self._start()
                threading.Thread(target=self._end_when_idle, name="idle-gradients", daemon=True).start()
            if self._is_closed or self._kept is None:
                raise BackendFailed(f"{self._what}: the backend is closed")
            kept = self._kept
            worker = kept.living()
            try:
                header, found = worker.ask(signature, variants, LIMIT_S, gradients=asked)
            except (TimeoutError, FrameTooLarge, EOFError, OSError) as error:
                ended = kept.end(worker, kill=True)
                raise BackendFailed(f"{self._what}: the process for gradients ended: {ended}") from error
            except BaseException:  # its answer must not be read as that to the next question
                kept.end(worker, kill=True)
                raise
            finally:
                self._used_at = time.monotonic()
        return _found(header, found)

    def close(self) -> None:
        """End the process, also during a call."""
        self._is_closed = True
        if (kept := self._kept) is not None:
            kept.kill()
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _end_when_idle(self) -> None:
        while True:
            time.sleep(max(0.05, self._used_at + self._idle_s - time.monotonic()))
            with self._lock:
                if self._kept is None:
                    return
                if time.monotonic() - self._used_at >= self._idle_s:
                    self._end()
                    return


def _found(header: dict[str, Any], found: dict[str, Array]) -> dict[str, Array]:
    if "error" in header:
        raise InvalidInput(f"the model has no gradients that can be computed here: {header['error']}")
    return found
