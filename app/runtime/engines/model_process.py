"""The process that runs a model, as the service sees it: started, asked, and ended."""

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from app.runtime.engines.process_template import Launched, ProcessTemplate
from app.runtime.engines.tensor_frames import receive_frame, send_frame
from app.runtime.engines.worker_loop import LIFELINE
from app.types import Array, Tensors

STOP_TIMEOUT_S = 5.0
ANSWER_LIMIT_BYTES = 512 * 2**20
"""Most bytes of the answer to a batch that the service takes from a process."""
# A longer limit means no limit: poll() counts milliseconds in 32 bits.
_LONGEST_WAIT_S = 2e6
# Notices and warnings of TensorFlow, and stack traces.
_LONGEST_LINE = 4_096
# The directory that the package of this module is in: the checkout, or site-packages.
_PACKAGES = Path(__file__).parents[len(__name__.split(".")) - 1]
_NO_REASON = re.compile(r"[IW]\d{4} |WARNING|\*\*\*|\s")

P = TypeVar("P", bound=Launched | None)


class ModelProcess:
    """One process: its socket, its last line on standard error, and whether it has answered a batch yet.

    It has a process group of its own, and one end of a pipe: when this process ends, however it does, the kernel ends
    the group (``worker_loop``).
    """

    def __init__(
        self, command: Sequence[str], arguments: Sequence[str], *, template: ProcessTemplate | None = None
    ) -> None:
        # The package may have been found through the working directory or --app-dir.
        places = [str(_PACKAGES), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, places)),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_USE_LEGACY_KERAS": "1",  # a SavedModel needs no Keras; TensorFlow imports Keras 3 for a second
            "CUDA_VISIBLE_DEVICES": "-1",
        }

        def interpreter(channel: int, lifeline: int) -> Launched:
            return subprocess.Popen(
                [*command, *arguments],
                stdin=channel,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**environment, LIFELINE: str(lifeline)},
                pass_fds=(lifeline,),
                start_new_session=True,
            )

        fork = template and self._connected(
            lambda channel, lifeline: template.fork(arguments, channel, lifeline, environment)
        )
        self.process: Launched = fork or self._connected(interpreter)
        self.has_answered = False
        self._said = ""
        self._reader = threading.Thread(target=self._read, name="model-stderr", daemon=True)
        self._reader.start()

    def _connected(self, start: Callable[[int, int], P]) -> P:
        """What ``start`` returns, given the process's ends of a new channel and a new lifeline: a process, or None."""
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        their_lifeline, self._lifeline = os.pipe()
        process = None
        try:
            with theirs:
                process = start(theirs.fileno(), their_lifeline)
        finally:
            os.close(their_lifeline)
            if process is None:
                self._channel.close()
                os.close(self._lifeline)
        return process

    def wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """The header that the process sends once it has loaded; TimeoutError, EOFError or OSError if loading fails."""
        self._channel.settimeout(timeout_s)
        return receive_frame(self._channel)[0]

    def ask(
        self, signature: str, inputs: Tensors, limit_s: float, **more: Any
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Send one batch for a signature, and ``more`` for the header, and wait for its answer.

        TimeoutError if no data moves for ``limit_s`` seconds, which may be infinite; EOFError or another OSError if the
        process dies; FrameTooLarge if the answer exceeds ``ANSWER_LIMIT_BYTES``.
        """
        self._channel.settimeout(limit_s if limit_s < _LONGEST_WAIT_S else None)
        send_frame(self._channel, {"signature": signature, **more}, inputs)
        answer = receive_frame(self._channel, limit_bytes=ANSWER_LIMIT_BYTES)
        self.has_answered = True
        return answer

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self.process.kill()
        self.stop()

    def stop(self) -> str:
        """Close the socket, wait until the process has ended, kill it if it does not. Returns how it ended."""
        self._channel.close()
        try:
            code = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        with suppress(ProcessLookupError):  # what the process has started itself
            os.killpg(self.process.pid, signal.SIGKILL)
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self._reader.join(STOP_TIMEOUT_S)
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return f"{how}: {self._said}" if self._said else how

    def _read(self) -> None:
        """Keep the last line that may explain why the process ended."""
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            while line := stderr.readline(_LONGEST_LINE):
                text = line.decode(errors="replace").rstrip()
                if text and not _NO_REASON.match(text):
                    self._said = text
