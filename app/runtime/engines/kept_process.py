"""The process that runs a model: started, agreed with a contract, and started again when it has died."""

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from app.contract.graph_facts import GraphFacts
from app.contract.model_spec import ModelSpec
from app.errors import BackendDown, BackendFailed, BackendHung, VersionRefused
from app.runtime.engines.model_process import ModelProcess
from app.runtime.engines.process_template import ProcessTemplate
from app.runtime.engines.restarts import RESTART_WINDOW_S, RESTARTS, Restarts
from app.runtime.engines.signatures import agree, facts_of
from app.types import Clock

log = logging.getLogger("atelier.runtime")

Snapshot = Callable[[], AbstractContextManager[Path]]
# Facts of all signatures by name -> the contract of one of them.
Contract = Callable[[dict[str, GraphFacts]], ModelSpec]

START_TIMEOUT_S = 120.0


class KeptProcess:
    """Keeps one process running, with a few restarts a minute at most. One call at a time.

    Args:
        path, contract, threads, provider, command, template, snapshot, start_timeout_s, signature, clock: see
            ``ProcessBackend``.

    Attributes:
        contract: that every new process must agree with.
        spec: the contract that the first process agreed with.
        signatures: facts of all signatures, as the last process reported them.

    Raises:
        VersionRefused: see ``ProcessBackend``.
    """

    def __init__(
        self,
        path: Path,
        contract: ModelSpec | Contract,
        *,
        threads: int,
        provider: str,
        command: Sequence[str],
        template: ProcessTemplate | None,
        snapshot: Snapshot,
        start_timeout_s: float,
        signature: str,
        clock: Clock,
    ) -> None:
        self._path = path
        self.contract = contract
        self._provider = provider
        self._command, self._template, self._threads = command, template, threads
        self._snapshot = snapshot
        self._start_timeout_s = start_timeout_s
        self._signature = signature
        self._restarts = Restarts(clock)
        self._closed = False
        self.signatures: dict[str, GraphFacts] = {}
        self.spec, self._running = self._start()

    @property
    def pid(self) -> int:
        """Process id of the process that runs, or last ran."""
        return self._running.process.pid

    @property
    def down_for_s(self) -> float:
        """See ``Restarts``."""
        return self._restarts.down_for_s

    def close(self) -> None:
        """End the process and wait for it; it is not started again."""
        self._closed = True
        self._running.stop()

    def kill(self) -> None:
        """Let a call in progress fail; the process is not started again."""
        self._closed = True
        self._running.process.kill()

    def living(self) -> ModelProcess:
        """The process; starts a new one if it has died."""
        if self._closed:
            raise BackendFailed(f"{self._path}: the backend is closed")
        if self._running.process.poll() is None:
            return self._running
        ended = self.end(self._running)
        if down_for_s := self.down_for_s:
            raise BackendDown(
                f"the {self._provider} process ended ({ended}) and was restarted {RESTARTS} times within "
                f"{RESTART_WINDOW_S:g} s; the next attempt is in {down_for_s:.0f} s",
                retry_after_s=math.ceil(down_for_s),
            )
        self._restarts.begin()
        log.warning("%s: the %s process ended (%s) and is restarted", self._path, self._provider, ended)
        try:
            _, self._running = self._start()
        except VersionRefused as error:
            raise BackendHung(f"the {self._provider} process cannot be restarted: {error.message}") from error
        return self._running

    def end(self, worker: ModelProcess, *, kill: bool = False) -> str:
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
        worker = ModelProcess(self._command, [str(directory), str(self._threads)], template=self._template)
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
        contract = self.contract
        spec = contract if isinstance(contract, ModelSpec) else contract(found)
        if (facts := found.get(self._signature)) is None:
            raise VersionRefused(f"{self._path}: it has no signature {self._signature!r}; it has {sorted(found)}")
        agree(self._path, "input", spec.inputs, facts.inputs)
        agree(self._path, "output", spec.outputs, facts.outputs)
        return spec
