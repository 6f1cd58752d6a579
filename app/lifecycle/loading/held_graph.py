"""The graph of a version while its instances open, and afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.contract.version_files import Graph, VersionFiles


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
    def at_hand(self) -> Iterator[Graph]:
        """The graph in memory, or else read now; it must be the one in the manifest at the time of the load."""
        if self._held is not None:
            yield self._held
        else:
            with self._files.graph() as graph:
                yield graph
