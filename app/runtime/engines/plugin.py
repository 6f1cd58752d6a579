"""A backend or a transform of an installed package: the entry point with its name, run in a separate process.

Documented for its authors in docs/how-to/write-a-backend.md.
"""

import sys
from pathlib import Path

from app.contract.model_spec import ModelSpec
from app.runtime.engines.kept_process import Contract, Snapshot
from app.runtime.engines.process_backend import ProcessBackend

WORKER = (sys.executable, "-m", "app.runtime.engines.plugin_worker")


class PluginBackend(ProcessBackend):
    """A version that names its backend, or a transform around its graph, in backend.json; see ``ProcessBackend``.

    Args:
        path: the directory of the version, for messages.
        contract, threads, snapshot: see ``ProcessBackend``.
        kind: ``backend`` or ``transform``.
        name: of the entry point.

    Raises:
        VersionRefused: no installed package has that entry point, it cannot load the version, or as in
            ``ProcessBackend``.
    """

    def __init__(
        self, path: Path, contract: ModelSpec | Contract, threads: int, *, kind: str, name: str, snapshot: Snapshot
    ) -> None:
        super().__init__(path, contract, threads, provider=name, command=(*WORKER, kind, name), snapshot=snapshot)
