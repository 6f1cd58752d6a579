"""How much memory a version takes: measured while it loads, or else estimated from its files."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from app.contract.version_files import VersionFiles
from app.repository.policy import RunBy
from app.runtime.backend import Backend
from app.runtime.memory import allocated_bytes

# ONNX Runtime keeps the weights as they are in the file and, for many operations, once more in the order in which the
# processor reads them; a session and its buffers take some more.
TIMES_ITS_FILES = 2
SESSION_BYTES = 4 * 2**20
# A SavedModel runs in a process with TensorFlow: 606 to 679 MB of resident memory.
PROCESS_BYTES = 600 * 2**20
# A backend of an installed package runs in a process with NumPy and what it imports, which is not known here.
PLUGIN_BYTES = 100 * 2**20


def memory_estimate(files: VersionFiles, backend: RunBy, instances: int) -> int:
    """Bytes of all instances of a version together, as its files tell.

    Args:
        files: of the version.
        backend: that runs it.
        instances: as in serving.json.
    """
    if backend == "savedmodel":
        return instances * (TIMES_ITS_FILES * files.saved_model_bytes + PROCESS_BYTES)
    if backend == "plugin":
        return instances * (TIMES_ITS_FILES * files.all_bytes + PLUGIN_BYTES)
    return instances * (TIMES_ITS_FILES * files.graph_bytes + SESSION_BYTES)


@dataclass
class Measurement:
    """One load.

    Attributes:
        before_bytes: allocated at its beginning; None if that is not known.
        is_disturbed: another load, or the end of a version, changed what is allocated at the same time.
    """

    before_bytes: int | None
    is_disturbed: bool


class MemoryNeed(NamedTuple):
    """What a version takes.

    Attributes:
        size_bytes: of all its instances.
        is_measured: False: estimated from its files.
    """

    size_bytes: int
    is_measured: bool = True


NO_MEMORY = MemoryNeed(0)


class MemoryNeeds:
    """Measures loads, and remembers the result for loads that cannot be measured. Any thread may use it.

    Args:
        allocated: bytes that this process has allocated; None if they are not known.
    """

    def __init__(self, allocated: Callable[[], int | None] = allocated_bytes) -> None:
        self._allocated = allocated
        self._lock = threading.RLock()
        self._running: list[Measurement] = []
        self._known: dict[tuple[str, int], MemoryNeed] = {}

    @contextmanager
    def load(self) -> Iterator[Measurement]:
        """Around a load, from before its files are read."""
        with self._lock:
            self.disturb()
            this = Measurement(self._allocated(), is_disturbed=bool(self._running))
            self._running.append(this)
        try:
            yield this
        finally:
            with self._lock:
                self._running.remove(this)

    def disturb(self) -> None:
        """Memory was allocated or freed that belongs to none of the loads that run."""
        with self._lock:
            for each in self._running:
                each.is_disturbed = True

    def need(self, this: Measurement, files: VersionFiles, run_by: RunBy, backends: Sequence[Backend]) -> MemoryNeed:
        """Memory of all instances of a version, before its load ends.

        Of a version in processes of its own, their resident memory. Of an ONNX graph, what this process has allocated
        since the load began, and its weights in separate files, which the runtime maps; at least its files, once for
        each instance, since memory that is freed during the load may hide its own. Else as measured before, or
        estimated.

        Args:
            this: its load.
            files: of the version.
            run_by: what runs it.
            backends: its instances, ready to serve.
        """
        instances = len(backends)
        estimate = MemoryNeed(memory_estimate(files, run_by, instances), is_measured=False)
        if run_by != "onnx":
            resident = [each.process_bytes for each in backends]
            return MemoryNeed(sum(resident)) if all(resident) else estimate
        key, after_bytes = (files.digest, instances), self._allocated()
        if this.is_disturbed or this.before_bytes is None or after_bytes is None:
            return self._known.get(key, estimate)
        grown = after_bytes - this.before_bytes + instances * files.weights_beside_bytes
        self._known[key] = MemoryNeed(max(grown, instances * files.graph_bytes))
        return self._known[key]
