"""A backend whose model runs in a separate process, so that its libraries are not imported here."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from app.contract.graph_facts import SIGNATURE, GraphFacts
from app.contract.model_spec import ModelSpec
from app.errors import BackendDown, BackendFailed, BackendHung, VersionRefused
from app.runtime.backend import Backend, row_count
from app.runtime.engines.graph_shapes import GraphShapes
from app.runtime.engines.model_process import STOP_TIMEOUT_S, ModelProcess
from app.runtime.engines.restarts import RESTART_WINDOW_S, RESTARTS, Restarts
from app.runtime.engines.signatures import agree, check_inputs, facts_of
from app.runtime.engines.tensor_frames import FrameTooLarge
from app.runtime.memory import resident_bytes
from app.types import Array, Tensors

log = logging.getLogger("atelier.runtime")

Snapshot = Callable[[], AbstractContextManager[Path]]
# Facts of all signatures by name -> the contract of one of them.
Contract = Callable[[dict[str, GraphFacts]], ModelSpec]

START_TIMEOUT_S = 120.0
# A process that does not answer a batch for this long hangs.
BATCH_LIMIT_S = 30.0
# Extra seconds for a batch that finds the process dead: it starts a new one and is its first batch.
GRACE_S = START_TIMEOUT_S + BATCH_LIMIT_S + 2 * STOP_TIMEOUT_S


class ProcessBackend(Backend):
    """One signature of a model, run on the CPU in a separate process; ``sibling`` gives the others.

    A process that dies fails the batch it was running; the next batch starts a new one, a few times a minute at most.
    A process that does not answer within the limit is killed and counts as one that died.

    Args:
        path: of the model, for messages.
        contract: names, element types and ranks must agree; or derives the contract from the signatures.
        threads: threads of one operation.
        provider: what runs in the process, for messages and metrics.
        command: starts the process; the directory and ``threads`` are appended.
        snapshot: returns a context with a directory of the verified files, entered while a process loads them.
        start_timeout_s: seconds in which the process must load the model.
        batch_limit_s: limit of a batch, unless ``limit_calls`` sets another one. The first batch of a process always
            has this limit, since TensorFlow prepares much in it.
        signature: its name.
        clock: monotonic seconds.

    Raises:
        VersionRefused: the process cannot load the model or takes too long, or the signature disagrees with the
            contract, or does not make one.
    """

    def __init__(
        self,
        path: Path,
        contract: ModelSpec | Contract,
        threads: int,
        *,
        provider: str,
        command: Sequence[str],
        snapshot: Snapshot,
        start_timeout_s: float = START_TIMEOUT_S,
        batch_limit_s: float = BATCH_LIMIT_S,
        signature: str = SIGNATURE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self.signature = signature
        self._contract = contract
        self._provider = provider
        self._snapshot = snapshot
        self._command, self._threads = command, threads
        self._start_timeout_s = start_timeout_s
        self._first_limit_s = self._batch_limit_s = batch_limit_s
        self._restarts = Restarts(clock)
        self._closed = False
        # A frame answers the previous frame, so two batches must not mix.
        self._lock = threading.Lock()
        self.signatures: dict[str, GraphFacts] = {}
        self.spec, self._worker = self._start()
        self._shapes = GraphShapes.needed_for(self.spec)

    @property
    def provider(self) -> str:
        """See ``Backend``."""
        return self._provider

    def follow(self, spec: ModelSpec) -> None:
        """Use another contract from now on, for the same tensors. No call is in progress."""
        self.spec = self._contract = spec
        self._shapes = GraphShapes.needed_for(spec)

    def sibling(self, signature: str, spec: ModelSpec) -> "SignatureBackend":
        """Another signature of the same model, in the same process.

        Args:
            signature: a key of ``signatures``.
            spec: its contract.
        """
        return SignatureBackend(self, signature, spec)

    @property
    def pid(self) -> int:
        """Process id of the process that runs the model, or last ran it."""
        return self._worker.process.pid

    @property
    def down_for_s(self) -> float:
        """See ``Backend``."""
        return self._restarts.down_for_s

    @property
    def process_bytes(self) -> int:
        """See ``Backend``."""
        return resident_bytes(self.pid)

    def limit_calls(self, seconds: float) -> float:
        """See ``Backend``: a process whose call takes longer is killed."""
        self._batch_limit_s = seconds
        return GRACE_S

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``. BackendHung without an answer within the limit."""
        return self.run_signature(self.signature, self.spec, self._shapes, inputs)

    def run_signature(
        self, signature: str, spec: ModelSpec, shapes: GraphShapes | None, inputs: Tensors
    ) -> dict[str, Array]:
        """Run one batch by a signature and its contract."""
        check_inputs(spec, inputs)
        rows = row_count(inputs)
        if shapes is not None:
            inputs = shapes.to_graph(inputs)
        with self._lock:
            worker = self._living()
            limit_s = self._batch_limit_s
            if not worker.has_answered:
                limit_s = max(limit_s, self._first_limit_s)
            try:
                header, outputs = worker.ask(signature, inputs, limit_s)
            except TimeoutError as error:
                self._end(worker, kill=True)
                late = f"did not answer a batch of {rows} instances within its limit of {limit_s:g} s and was killed"
                log.error("%s: the %s process %s", self._path, self._provider, late)
                raise BackendHung(f"the {self._provider} process {late}") from error
            except FrameTooLarge as error:
                self._end(worker, kill=True)
                raise BackendFailed(f"the answer of the {self._provider} process has {error}") from error
            except (EOFError, OSError) as error:
                ended = self._end(worker)
                raise BackendFailed(f"the {self._provider} process ended while it ran this batch: {ended}") from error
            except BaseException:  # its answer to this batch must not be read as that to the next
                self._end(worker, kill=True)
                raise
        if "error" in header:
            raise BackendFailed(f"{self._provider}: {header['error']}")
        outputs = {tensor.name: outputs[tensor.name] for tensor in spec.outputs}
        for name, values in outputs.items():
            if spec.batched and (values.ndim == 0 or len(values) != rows):
                raise BackendFailed(f"output {name!r} has shape {list(values.shape)} for {rows} instances")
        return outputs if shapes is None else shapes.from_graph(outputs)

    def close(self) -> None:
        """End the process and wait for it."""
        with self._lock:
            self._closed = True
            self._worker.stop()

    def _living(self) -> ModelProcess:
        """The process; starts a new one if it has died."""
        if self._closed:
            raise BackendFailed(f"{self._path}: the backend is closed")
        if self._worker.process.poll() is None:
            return self._worker
        ended = self._end(self._worker)
        if down_for_s := self.down_for_s:
            raise BackendDown(
                f"the {self._provider} process ended ({ended}) and was restarted {RESTARTS} times within "
                f"{RESTART_WINDOW_S:g} s; the next attempt is in {down_for_s:.0f} s",
                retry_after_s=math.ceil(down_for_s),
            )
        self._restarts.begin()
        log.warning("%s: the %s process ended (%s) and is restarted", self._path, self._provider, ended)
        try:
            _, self._worker = self._start()
        except VersionRefused as error:
            raise BackendHung(f"the {self._provider} process cannot be restarted: {error.message}") from error
        return self._worker

    def _end(self, worker: ModelProcess, *, kill: bool = False) -> str:
        """Note that the process has ended, or is killed now. Returns how it ended."""
        if kill:
            worker.process.kill()
        ended = worker.stop()
        if self._restarts.end():
            log.error(
                "%s: the %s process ended (%s) and was restarted %d times within %g s; the next attempt is in %.0f s",
                self._path,
                self._provider,
                ended,
                RESTARTS,
                RESTART_WINDOW_S,
                self.down_for_s,
            )
        return ended

    def _start(self) -> tuple[ModelSpec, ModelProcess]:
        with self._snapshot() as directory:  # all files have been read when the process reports ready
            return self._start_in(directory)

    def _start_in(self, directory: Path) -> tuple[ModelSpec, ModelProcess]:
        worker = ModelProcess([*self._command, str(directory), str(self._threads)])
        try:
            header = worker.wait_ready(self._start_timeout_s)
            if "error" in header:
                original = self._path if self._path.is_dir() else self._path.parent
                error = header["error"].replace(str(directory), str(original))  # not the path of the private copy
                raise VersionRefused(f"{self._path}: {error}")
            return self._agreed(header["signatures"]), worker
        except TimeoutError as error:
            worker.kill()
            raise VersionRefused(
                f"{self._path}: {self._provider} has not loaded it within {self._start_timeout_s:g} s"
            ) from error
        except (EOFError, OSError) as error:
            ended = worker.stop()
            raise VersionRefused(
                f"{self._path}: the {self._provider} process ended while it loaded: {ended}"
            ) from error
        except BaseException:
            worker.stop()
            raise

    def _agreed(self, signatures: dict[str, Any]) -> ModelSpec:
        """The contract, which fits the signature."""
        self.signatures = found = {name: facts_of(each) for name, each in signatures.items()}
        contract = self._contract
        spec = contract if isinstance(contract, ModelSpec) else contract(found)
        if (facts := found.get(self.signature)) is None:
            raise VersionRefused(f"{self._path}: it has no signature {self.signature!r}; it has {sorted(found)}")
        agree(self._path, "input", spec.inputs, facts.inputs)
        agree(self._path, "output", spec.outputs, facts.outputs)
        return spec


class SignatureBackend(Backend):
    """Another signature of a ``ProcessBackend``, in its process, which is closed by itself.

    Args:
        owner: has the process.
        signature: its name.
        spec: its contract.
    """

    def __init__(self, owner: ProcessBackend, signature: str, spec: ModelSpec) -> None:
        self._owner, self._signature, self._spec = owner, signature, spec
        self._shapes = GraphShapes.needed_for(spec)

    @property
    def provider(self) -> str:
        """See ``Backend``."""
        return self._owner.provider

    @property
    def down_for_s(self) -> float:
        """See ``Backend``."""
        return self._owner.down_for_s

    def limit_calls(self, seconds: float) -> float:
        """The limit of the process is in effect, which its owner sets."""
        return GRACE_S

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run one batch; see ``Backend.run``."""
        return self._owner.run_signature(self._signature, self._spec, self._shapes, inputs)

    def close(self) -> None:
        """Do nothing: the owner closes the process."""
