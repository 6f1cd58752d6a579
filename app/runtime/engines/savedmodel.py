"""A TensorFlow SavedModel as a backend. TensorFlow runs in a separate process and is not imported here."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from app.contract.model_spec import ModelSpec
from app.contract.tensor_spec import TensorSpec
from app.errors import BackendFailed, BackendHung, VersionRefused
from app.runtime.backend import Backend, row_count
from app.runtime.engines.tensor_frames import receive_frame, send_frame
from app.types import Array, Tensors

log = logging.getLogger("atelier.runtime")

Snapshot = Callable[[], AbstractContextManager[Path]]

TENSORFLOW = "TensorFlow"
WORKER = (sys.executable, "-m", "app.runtime.engines.savedmodel_worker")
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 5.0
# A process that does not answer a batch for this long hangs.
BATCH_LIMIT_S = 30.0
# Extra seconds for a batch that finds the process dead: it starts a new one and is its first batch.
GRACE_S = START_TIMEOUT_S + BATCH_LIMIT_S + 2 * STOP_TIMEOUT_S
# A longer limit means no limit: poll() counts milliseconds in 32 bits.
_LONGEST_WAIT_S = 2e6
# A process that keeps dying is restarted at most this many times within this many seconds.
RESTARTS = 3
RESTART_WINDOW_S = 60.0
# Notices and warnings of TensorFlow, and stack traces.
_NO_REASON = re.compile(r"[IW]\d{4} |WARNING|\*\*\*|\s")


class SavedModelBackend(Backend):
    """The signature ``serving_default`` of one SavedModel, run by TensorFlow on the CPU in a separate process.

    A process that dies fails the batch it was running; the next batch starts a new one, a few times a minute at most.
    A process that does not answer within the limit is killed and counts as one that died.

    Args:
        path: saved_model.pb, next to variables/.
        spec: its contract; names, element types and ranks must agree.
        threads: threads of one operation.
        command: starts the process; the directory and ``threads`` are appended.
        start_timeout_s: seconds in which the process must load the model.
        batch_limit_s: limit of a batch, unless ``limit_calls`` sets another one. The first batch of a process always
            has this limit, since TensorFlow prepares much in it.
        snapshot: returns a context with a directory of the verified files, entered while a process loads them; None
            uses the directory of ``path``, which nobody else may change.
        clock: monotonic seconds.

    Raises:
        VersionRefused: the file does not exist, TensorFlow is not installed, cannot load it or takes too long, or the
            signature disagrees with the contract.
    """

    provider = TENSORFLOW

    def __init__(
        self,
        path: Path,
        spec: ModelSpec,
        threads: int,
        *,
        command: Sequence[str] = WORKER,
        start_timeout_s: float = START_TIMEOUT_S,
        batch_limit_s: float = BATCH_LIMIT_S,
        snapshot: Snapshot | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not path.is_file():
            raise VersionRefused(f"{path}: the file does not exist, and the backend savedmodel requires it")
        self._path = path
        self._spec = spec
        self._snapshot: Snapshot = snapshot or (lambda: nullcontext(path.parent.absolute()))
        self._command, self._threads = command, threads
        self._start_timeout_s = start_timeout_s
        self._first_limit_s = self._batch_limit_s = batch_limit_s
        self._clock = clock
        self._restarts: list[float] = []
        self._closed = False
        # A frame answers the previous frame, so two batches must not mix.
        self._lock = threading.Lock()
        self._worker = self._start()

    @property
    def pid(self) -> int:
        """Process id of the process that runs the model, or last ran it."""
        return self._worker.process.pid

    def limit_calls(self, seconds: float) -> float:
        """See ``Backend``: a process whose call takes longer is killed."""
        self._batch_limit_s = seconds
        return GRACE_S

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``. BackendHung if there is no answer within the limit."""
        _check_inputs(self._spec.inputs, inputs)
        rows = row_count(inputs)
        with self._lock:
            worker = self._living()
            limit_s = self._batch_limit_s
            if not worker.has_answered:
                limit_s = max(limit_s, self._first_limit_s)
            try:
                header, outputs = worker.ask(inputs, limit_s)
            except TimeoutError as error:
                worker.kill()
                late = f"did not answer a batch of {rows} instances within its limit of {limit_s:g} s and was killed"
                log.error("%s: the TensorFlow process %s", self._path, late)
                raise BackendHung(f"the TensorFlow process {late}") from error
            except (EOFError, OSError) as error:
                raise BackendFailed(f"the TensorFlow process ended while it ran this batch: {worker.stop()}") from error
            except BaseException:  # its answer to this batch must not be taken for that to the next
                worker.kill()
                raise
        if "error" in header:
            raise BackendFailed(f"TensorFlow: {header['error']}")
        for name, values in outputs.items():
            if values.ndim == 0 or len(values) != rows:
                raise BackendFailed(f"output {name!r} has shape {list(values.shape)} for {rows} instances")
        return {tensor.name: outputs[tensor.name] for tensor in self._spec.outputs}

    def close(self) -> None:
        """End the process and wait for it."""
        with self._lock:
            self._closed = True
            self._worker.stop()

    def _living(self) -> "_Worker":
        """The process; starts a new one if it has died."""
        if self._closed:
            raise BackendFailed(f"{self._path}: the backend is closed")
        if self._worker.process.poll() is None:
            return self._worker
        ended = self._worker.stop()
        now = self._clock()
        self._restarts = [each for each in self._restarts if now - each < RESTART_WINDOW_S]
        if len(self._restarts) >= RESTARTS:
            raise BackendFailed(
                f"the TensorFlow process ended ({ended}) and was restarted {RESTARTS} times within "
                f"{RESTART_WINDOW_S:g} s; the next attempt is in {RESTART_WINDOW_S - now + self._restarts[0]:.0f} s"
            )
        self._restarts.append(now)
        log.warning("%s: the TensorFlow process ended (%s) and is restarted", self._path, ended)
        try:
            self._worker = self._start()
        except VersionRefused as error:
            raise BackendHung(f"the TensorFlow process cannot be restarted: {error.message}") from error
        return self._worker

    def _start(self) -> "_Worker":
        with self._snapshot() as directory:  # TensorFlow has read all files when it reports ready
            return self._start_in(directory)

    def _start_in(self, directory: Path) -> "_Worker":
        worker = _Worker([*self._command, str(directory), str(self._threads)])
        try:
            header = worker.wait_ready(self._start_timeout_s)
            if "error" in header:
                raise VersionRefused(f"{self._path}: {header['error']}")
            _agree(self._path, "input", self._spec.inputs, header["signature"]["inputs"])
            _agree(self._path, "output", self._spec.outputs, header["signature"]["outputs"])
        except TimeoutError as error:
            worker.kill()
            raise VersionRefused(
                f"{self._path}: TensorFlow has not loaded it within {self._start_timeout_s:g} s"
            ) from error
        except (EOFError, OSError) as error:
            ended = worker.stop()
            raise VersionRefused(f"{self._path}: the TensorFlow process ended while it loaded: {ended}") from error
        except BaseException:
            worker.stop()
            raise
        return worker


class _Worker:
    """One process: its socket, its last line on standard error, and whether it has answered a batch yet."""

    def __init__(self, command: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        # The package may have been found through the working directory or --app-dir.
        places = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, places)),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
        }
        try:
            with theirs:
                self.process: subprocess.Popen[bytes] = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
                )
        except BaseException:
            self._channel.close()
            raise
        self.has_answered = False
        self._said = ""
        self._reader = threading.Thread(target=self._read, name="savedmodel-stderr", daemon=True)
        self._reader.start()

    def wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """The header that the process sends once it has loaded; TimeoutError, EOFError or OSError if loading fails."""
        self._channel.settimeout(timeout_s)
        return receive_frame(self._channel)[0]

    def ask(self, inputs: Tensors, limit_s: float) -> tuple[dict[str, Any], dict[str, Array]]:
        """Send one batch and wait for its answer.

        TimeoutError if no data moves for ``limit_s`` seconds, which may be infinite; EOFError or another OSError if the
        process dies.
        """
        self._channel.settimeout(limit_s if limit_s < _LONGEST_WAIT_S else None)
        send_frame(self._channel, {}, inputs)
        answer = receive_frame(self._channel)
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
        self._reader.join(STOP_TIMEOUT_S)
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        return f"{how}: {self._said}" if self._said else how

    def _read(self) -> None:
        """Keep the last line that may explain why the process ended."""
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            for line in stderr:
                text = line.decode(errors="replace").rstrip()
                if text and not _NO_REASON.match(text):
                    self._said = text


def _check_inputs(tensors: Sequence[TensorSpec], inputs: Tensors) -> None:
    """Refuse inputs that break the contract: some kernels of TensorFlow abort the process on a wrong rank."""
    names = [tensor.name for tensor in tensors]
    if set(inputs) != set(names):
        raise BackendFailed(f"the inputs are {sorted(inputs)}; the signature requires {sorted(names)}")
    rows = row_count(inputs) if all(values.ndim for values in inputs.values()) else -1
    for tensor in tensors:
        values = inputs[tensor.name]
        fits = values.ndim == len(tensor.batch_shape) and len(values) == rows
        fits = fits and all(want in {-1, got} for want, got in zip(tensor.shape, values.shape[1:], strict=True))
        if not fits or values.dtype != tensor.numpy_dtype:
            raise BackendFailed(
                f"input {tensor.name!r} is {values.dtype.name} of shape {list(values.shape)}; the signature requires "
                f"{tensor.dtype} of shape {list(tensor.batch_shape)}, and the same batch in every input"
            )


def _agree(path: Path, kind: str, expected: tuple[TensorSpec, ...], found: dict[str, list[Any]]) -> None:
    contract = {tensor.name: [tensor.dtype, len(tensor.batch_shape)] for tensor in expected}
    if found != contract:
        raise VersionRefused(f"{path}: the signature's {kind}s are {found}, model.json says {contract}")
