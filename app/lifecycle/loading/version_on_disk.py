"""A version between the disk and its instances: as it was read, and its graph while they open."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.contract.version_files import Graph, VersionFiles
from app.lifecycle.loading.version_contract import VersionContract
from app.repository.policy import RunBy
from app.runtime.backend import Backend
from app.runtime.engines.process_backend import ProcessBackend


@dataclass(kw_only=True)
class VersionOnDisk:
    """A version as it was read, before it is opened to serve.

    Attributes:
        files: of the version.
        contract: as written, or derived from its graph.
        backend: what runs it.
        others: contracts of the other signatures of a SavedModel.
        running: a backend that was opened to read it, for the first instance; None if it is taken or does not exist.
        again: opens another one (contract, threads); None for a graph.
    """

    files: VersionFiles
    contract: VersionContract
    backend: RunBy
    others: Mapping[str, VersionContract] = field(default_factory=dict)
    running: Backend | None = None
    again: Callable[..., ProcessBackend] | None = None

    def take(self) -> Backend | None:
        """The running backend, which the caller closes from now on."""
        running, self.running = self.running, None
        return running

    def close(self) -> None:
        """Close the running backend if it has not been taken."""
        if (running := self.take()) is not None:
            running.close()


class HeldGraph:
    """The graph of a version: read once while it loads, and again for a spare that is opened later."""

    def __init__(self, files: VersionFiles) -> None:
        self._files = files
        self._held: Graph | None = None

    @contextmanager
    def held(self) -> Iterator[Graph]:
        """Reads the graph and keeps it until the end."""
        with self._files.graph() as graph:
            self._held = graph
            try:
                yield graph
            finally:
                self._held = None

    @contextmanager
    def in_memory_or_read(self) -> Iterator[Graph]:
        """The graph in memory, or else read now; it must be the one in the manifest at the time of the load."""
        if self._held is not None:
            yield self._held
        else:
            with self._files.graph() as graph:
                yield graph
