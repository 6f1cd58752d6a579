"""A TensorFlow SavedModel as a backend. TensorFlow runs in a separate process and is not imported here."""

import importlib.util
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from app.contract.model_spec import ModelSpec
from app.errors import VersionRefused
from app.runtime.engines.gradient_process import GradientProcess
from app.runtime.engines.kept_process import START_TIMEOUT_S, Contract, KeptProcess, Snapshot
from app.runtime.engines.process_backend import ProcessBackend
from app.runtime.engines.process_template import ProcessTemplate
from app.types import Array, Tensors

TENSORFLOW = "TensorFlow"
WORKER = (sys.executable, "-m", "app.runtime.engines.savedmodel_worker")
_TEMPLATE = ProcessTemplate((*WORKER, "--template"))
"""Of all SavedModels: TensorFlow is imported once, for six seconds, not again for each of them and each restart."""


class SavedModelBackend(ProcessBackend):
    """A SavedModel, run by TensorFlow; see ``ProcessBackend``.

    Args:
        path: saved_model.pb, next to variables/.
        contract, threads, command, others: see ``ProcessBackend``.
        snapshot: None uses the directory of ``path``, which no other user may change.

    Raises:
        VersionRefused: the file does not exist, TensorFlow is not installed, or as in ``ProcessBackend``.
    """

    def __init__(
        self,
        path: Path,
        contract: ModelSpec | Contract,
        threads: int,
        *,
        command: Sequence[str] = WORKER,
        snapshot: Snapshot | None = None,
        **others: Any,
    ) -> None:
        if not path.is_file():
            raise VersionRefused(f"{path}: the file does not exist, and the backend savedmodel requires it")
        snapshot = snapshot or (lambda: nullcontext(path.parent.absolute()))
        template = _TEMPLATE if command == WORKER else None
        super().__init__(
            path,
            contract,
            threads,
            provider=TENSORFLOW,
            command=command,
            template=template,
            snapshot=snapshot,
            **others,
        )

        def start() -> KeptProcess:
            return KeptProcess(
                path,
                self.spec,
                threads=1,
                provider=TENSORFLOW,
                command=command,
                template=template,
                snapshot=snapshot,
                start_timeout_s=START_TIMEOUT_S,
                signature=self.signature,
                clock=time.monotonic,
            )

        self._gradients = GradientProcess(start, str(path))

    @property
    def has_gradients(self) -> bool:
        """See ``Backend``."""
        return True

    def part_gradients(self, variants: Tensors, *, output: str, target: int) -> dict[str, Array]:
        """See ``Backend``."""
        if self._shapes is not None:
            variants = self._shapes.to_graph(variants)
        return self._gradients.scores(self.signature, variants, output=output, target=target)

    def close(self) -> None:
        """End the processes and wait for them."""
        self._gradients.close()
        super().close()


def is_installed() -> bool:
    """Whether TensorFlow can be found; it is not imported."""
    return importlib.util.find_spec("tensorflow") is not None
