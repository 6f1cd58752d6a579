"""Load, promote, roll back and halt: the order of the steps, the same for one process and for several workers."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from app.errors import Draining, ServingError
from app.lifecycle.model_lock import ModelLock
from app.repository.missing import no_version
from app.repository.repository import Repository
from app.repository.rollout_policy import CanaryPair, RolloutPolicy
from app.repository.serving_file import Promotion

log = logging.getLogger("atelier.lifecycle")


class Commands(ABC):
    """The commands for one model; subclasses implement the steps.

    A process does each step itself (``Lifecycle``); with workers, the supervisor does each step in all of them
    (``Coordinator``). Each model has one lock, from the first step to the last: a command reads serving.json and writes
    it later, and commands for different models share no file.

    Args:
        repository: the models directory.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._locks: defaultdict[str, ModelLock] = defaultdict(ModelLock)

    async def load(self, name: str) -> None:
        """Load the versions that the policy of one model specifies, from the present files; loaded ones stay loaded.

        New versions serve before those stop that the policy no longer specifies. A version whose settings in
        ``ServingPolicy.load_settings`` have changed is loaded again, and then takes the place of the old one.

        Raises:
            ModelNotFound: it is not in the repository.
            Draining: the service is shutting down.
            VersionRefused: serving.json is broken, or a specified version is refused; has the reason and the default
                version.
        """
        versions = await self._versions(name)
        async with self._locks[name]:
            await self._load(name, versions)

    async def promote(self, name: str, version: int) -> Promotion:
        """Make a version the default version, once it is loaded.

        Raises:
            ModelNotFound, VersionNotFound: it is not in the repository.
            VersionRefused: it does not load, or serving.json is broken; nothing has changed. Or serving.json names it
                now and cannot be followed: the message states this and the default version.
            SettingsUnwritable: serving.json cannot be written; nothing has changed.
        """
        versions = await self._versions(name)
        if version not in versions:
            raise no_version(name, version, versions)
        async with self._locks[name]:
            default = await self.default_version(name, versions)
            write = partial(self.repository.promote, name, version, default=default, versions=versions)
            return await self._make_stable(name, version, write)

    async def rollback(self, name: str) -> Promotion:
        """Undo the last promotion.

        Raises:
            ModelNotFound, VersionNotFound: there is nothing to go back to.
            VersionRefused, SettingsUnwritable: see ``promote``.
        """
        versions = await self._versions(name)
        async with self._locks[name]:
            default = await self.default_version(name, versions)
            target = partial(self.repository.rollback_target, name, default=default, versions=versions)
            write = partial(self.repository.rollback, name, default=default, versions=versions)
            return await self._make_stable(name, await asyncio.to_thread(target), write)

    async def halt(self, pair: CanaryPair, reason: str, *, judged: RolloutPolicy) -> None:
        """Record that a canary has exceeded a limit, so that a restart does not start it again.

        It gets no more requests already: the judge has stopped it before, without waiting for a lock.

        Args:
            pair: the canary, and what it was compared with.
            reason: in words.
            judged: the limits that it was judged by.
        """
        log.error("model %s: the canary is halted: %s", pair.name, reason)
        async with self._locks[pair.name]:  # neither a promotion that is written now nor a policy just read is lost
            try:
                is_written = await asyncio.to_thread(self.repository.halt, pair, reason, judged=judged)
            except ServingError as error:
                why = "model %s: the halt cannot be written, and a restart starts the canary again: %s"
                log.error(why, pair.name, error)
                return
            if is_written:
                await self._stop_canary(pair, reason)
                await self._follow(pair.name)
            else:
                log.info("model %s: serving.json is unchanged: it names another canary or other limits", pair.name)

    async def _versions(self, name: str) -> list[int]:
        if self._is_draining:
            raise Draining("the service is shutting down")
        return await asyncio.to_thread(self.repository.versions, name)

    async def _make_stable(self, name: str, version: int, write: Callable[[], Promotion]) -> Promotion:
        """Load the version, then write serving.json, then follow it."""
        try:
            await self._prepare(name, version)
            promotion = await asyncio.to_thread(write)
        except ServingError:
            await self._follow(name)  # unloads the version where it was loaded
            raise
        await self._settle(name, version)
        log.info("model %s: version %d is stable (previously %s)", name, version, promotion.before)
        return promotion

    # The steps. The caller must hold the model's lock.

    @property
    @abstractmethod
    def _is_draining(self) -> bool:
        """Whether the service is shutting down."""

    @abstractmethod
    async def default_version(self, name: str, versions: list[int]) -> int | None:
        """The default version in effect; None if no version serves. VersionRefused if serving.json is broken."""

    @abstractmethod
    async def _stop_canary(self, pair: CanaryPair, reason: str) -> None:
        """Note that serving.json marks a canary as halted; see ``Rollout.stop``."""

    @abstractmethod
    async def _load(self, name: str, versions: list[int]) -> None:
        """Load the versions that serving.json specifies; see ``load``."""

    @abstractmethod
    async def _prepare(self, name: str, version: int) -> None:
        """Load a version that is to become stable; VersionRefused if it does not load."""

    @abstractmethod
    async def _settle(self, name: str, version: int) -> None:
        """Follow a promotion of that version, which is written by now; VersionRefused: see ``promote``."""

    @abstractmethod
    async def _follow(self, name: str) -> None:
        """Follow serving.json as it is now; errors are in the log."""
