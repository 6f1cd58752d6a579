"""The first load of all models, and what the log says of it."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from contextlib import nullcontext

from app.lifecycle.loading.load_threads import LoadTurns
from app.lifecycle.model_lock import ModelLock
from app.lifecycle.registry import Registry
from app.lifecycle.sleeping import Sleeping
from app.lifecycle.version_loads import VersionLoads
from app.runtime.engines.worker_loop import HOW_TO_INSTALL

log = logging.getLogger("atelier.lifecycle")


class Start:
    """Loads all models, or lets them load with their first requests.

    Args:
        loads: loads single versions.
        sleeping: loads models, and lets them sleep.
        locks: of each model.
        unloaded: models that stay unloaded.
        loads_on_request: all models sleep.
        parallel: loads that run at the same time.
    """

    def __init__(
        self,
        loads: VersionLoads,
        sleeping: Sleeping,
        locks: Mapping[str, ModelLock],
        *,
        unloaded: Collection[str],
        loads_on_request: bool,
        parallel: int,
    ) -> None:
        self._loads = loads
        self._registry = loads.registry
        self._sleeping = sleeping
        self._locks = locks
        self._unloaded = unloaded
        self._loads_on_request = loads_on_request
        # With a memory limit, the next model is checked when the memory of those before it is known.
        self._turns = LoadTurns(parallel) if loads.memory is not None else None

    async def load_all(self) -> None:
        """See ``Lifecycle.load_all``."""
        found: dict[str, list[int]] = {}
        without: list[str] = []
        try:
            found = await asyncio.to_thread(self._loads.repository.scan)
            without = await asyncio.to_thread(self._loads.repository.without_versions)
        except OSError as error:
            log.error("the models directory cannot be read: %s", error)
        await asyncio.gather(*(self._load_first(name, versions) for name, versions in found.items()))
        self._registry.loading = False
        self._report(without)

    async def _load_first(self, name: str, versions: list[int]) -> None:
        turn = self._turns.taken() if self._turns is not None else nullcontext()
        async with turn, self._locks[name]:
            if name in self._unloaded or self._registry.models(name):  # a command was faster
                return
            if self._loads_on_request or self._sleeping.memory_is_used_up:
                await self._sleeping.begin(name, versions)
            else:
                await self._sleeping.load(name, versions)

    def _report(self, without: Collection[str]) -> None:
        registry, names = self._registry, self._registry.names()
        asleep = registry.asleep.names
        if asleep:
            log.info("%d of %d models load with their first request", len(asleep), len(names))
        if skipped := self._loads.without_tensorflow:
            log.warning(
                "skipped, because TensorFlow is not installed: %s; %s", ", ".join(sorted(skipped)), HOW_TO_INSTALL
            )
        if without:
            log.warning(
                "not served, because they have no version: %s; a version is a directory named by a whole number, with "
                "model.onnx, saved_model.pb or model.savedmodel/ in it",
                ", ".join(without),
            )
        serving = [name for name in names if registry.default(name) is not None]
        if missing := [name for name in names if name not in asleep and registry.default(name) is None]:
            do = "model does" if len(missing) == 1 else "models do"
            log.warning("%d %s not serve: %s", len(missing), do, ", ".join(missing))
        if serving or asleep:
            log.info("ready: %d of %d models serve", len(serving), len(names))
        else:
            log.error("no model version could be loaded: %s", _why_none(registry))


def _why_none(registry: Registry) -> str:
    """The reasons why no version is loaded."""
    records = [(name, record) for name in registry.names() for record in registry.records(name)]
    reasons = [f"{name} {record.version}: {record.reason}" for name, record in records if record.reason]
    return "; ".join(reasons) or "the models directory holds no NAME/VERSION/ with a manifest.json"
