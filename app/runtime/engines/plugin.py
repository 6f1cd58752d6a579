"""A backend of an installed package: the entry point ``atelier.backends`` with its name, run in a separate process.

Documented for its authors in docs/how-to/write-a-backend.md.
"""

import sys
from pathlib import Path

from app.contract.model_spec import ModelSpec
from app.runtime.engines.process_backend import Contract, ProcessBackend, Snapshot

GROUP = "atelier.backends"
WORKER = (sys.executable, "-m", "app.runtime.engines.plugin_worker")


class PluginBackend(ProcessBackend):
    """A version that names its backend in backend.json; see ``ProcessBackend``.

    Args:
        path: the directory of the version, for messages.
        contract, threads, snapshot: see ``ProcessBackend``.
        name: of the entry point.

    Raises:
        VersionRefused: no installed package has that entry point, it cannot load the version, or as in
            ``ProcessBackend``.
    """

    def __init__(
        self, path: Path, contract: ModelSpec | Contract, threads: int, *, name: str, snapshot: Snapshot
    ) -> None:
        super().__init__(path, contract, threads, provider=name, command=(*WORKER, name), snapshot=snapshot)
