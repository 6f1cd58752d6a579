"""A backend whose model runs in a separate process, so that its libraries are not imported here."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.contract.graph_facts import SIGNATURE, GraphFacts
from app.contract.model_spec import ModelSpec
from app.errors import BackendFailed, BackendHung
from app.runtime.backend import Backend, row_count
from app.runtime.engines.graph_shapes import GraphShapes
from app.runtime.engines.kept_process import START_TIMEOUT_S, Contract, KeptProcess, Snapshot
from app.runtime.engines.model_process import STOP_TIMEOUT_S
from app.runtime.engines.process_template import ProcessTemplate
from app.runtime.engines.signatures import check_inputs
from app.runtime.engines.tensor_frames import FrameTooLarge
from app.runtime.memory import resident_bytes
from app.types import Array, Tensors

log = logging.getLogger("atelier.runtime")

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
        template: a process whose forks do what ``command`` does; None starts a new interpreter.
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
        template: ProcessTemplate | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        batch_limit_s: float = BATCH_LIMIT_S,
        signature: str = SIGNATURE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self.signature = signature
        self._provider = provider
        self._first_limit_s = self._batch_limit_s = batch_limit_s
        # A frame answers the previous frame, so two batches must not mix.
        self._lock = threading.Lock()
        self._kept = KeptProcess(
            path,
            contract,
            provider=provider,
            command=command,
            template=template,
            threads=threads,
            snapshot=snapshot,
            start_timeout_s=start_timeout_s,
            signature=signature,
            clock=clock,
        )
        self.spec = self._kept.spec
        self._shapes = GraphShapes.needed_for(self.spec)

    @property
    def provider(self) -> str:
        """See ``Backend``."""
        return self._provider

    def follow(self, spec: ModelSpec) -> None:
        """Use another contract from now on, for the same tensors. No call is in progress."""
        self.spec = self._kept.contract = spec
        self._shapes = GraphShapes.needed_for(spec)

    def sibling(self, signature: str, spec: ModelSpec) -> "SignatureBackend":
        """Another signature of the same model, in the same process.

        Args:
            signature: a key of ``signatures``.
            spec: its contract.
        """
        return SignatureBackend(self, signature, spec)

    @property
    def signatures(self) -> dict[str, GraphFacts]:
        """Facts of all signatures, by name."""
        return self._kept.signatures

    @property
    def pid(self) -> int:
        """Process id of the process that runs the model, or last ran it."""
        return self._kept.pid

    @property
    def down_for_s(self) -> float:
        """See ``Backend``."""
        return self._kept.down_for_s

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
            worker = self._kept.living()
            limit_s = self._batch_limit_s
            if not worker.has_answered:
                limit_s = max(limit_s, self._first_limit_s)
            try:
                header, outputs = worker.ask(signature, inputs, limit_s)
            except TimeoutError as error:
                self._kept.end(worker, kill=True)
                late = f"did not answer a batch of {rows} instances within its limit of {limit_s:g} s and was killed"
                log.error("%s: the %s process %s", self._path, self._provider, late)
                raise BackendHung(f"the {self._provider} process {late}") from error
            except FrameTooLarge as error:
                self._kept.end(worker, kill=True)
                raise BackendFailed(f"the answer of the {self._provider} process has {error}") from error
            except (EOFError, OSError) as error:
                ended = self._kept.end(worker)
                raise BackendFailed(f"the {self._provider} process ended while it ran this batch: {ended}") from error
            except BaseException:  # its answer to this batch must not be read as that to the next
                self._kept.end(worker, kill=True)
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
            self._kept.close()


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
