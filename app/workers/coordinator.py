"""What one worker is asked for, done in all of them; the supervisor's side of ``link``.

Only here serving.json is written, so that workers never write it at once, and only here a canary's limits are judged,
on what all workers together have seen.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from app.errors import Draining, NotFound, ServingError
from app.lifecycle.versions import no_model, no_version, unwritable
from app.repository.last_good import policy_in_force
from app.repository.policy import CanaryPair
from app.repository.scan import scan
from app.repository.serving_file import Promotion, halt, promote, rollback, rollback_target
from app.rollout.across_workers import Canaries
from app.workers.channel import ChannelClosed, Handler
from app.workers.handle import Worker

log = logging.getLogger("atelier.supervisor")


class Coordinator:
    """Carries commands to all workers.

    Args:
        models_dir: holds <model>/<version>/.
        workers: those that run now.

    Attributes:
        unloaded: models that were unloaded by command, and the versions known of each; a new worker leaves them be.
        draining: the service is shutting down.
    """

    def __init__(self, models_dir: Path, workers: Callable[[], Sequence[Worker]]) -> None:
        self._models_dir = models_dir
        self._workers = workers
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._writing = asyncio.Lock()
        self._canaries = Canaries()
        self.unloaded: dict[str, list[int]] = {}
        self.draining = False

    @property
    def handlers(self) -> dict[str, Handler]:
        """What a worker may ask for."""
        return {
            "load": self.load,
            "unload": self.unload,
            "promote": self.promote,
            "rollback": self.rollback,
        }

    async def load(self, name: str) -> None:
        """See ``Lifecycle.load``."""
        await self._on_disk(name)
        async with self._locks[name]:
            self.unloaded.pop(name, None)
            await self._all("load", name=name)

    async def unload(self, name: str, timeout_s: float) -> None:
        """See ``Lifecycle.unload``."""
        async with self._locks[name]:
            self.unloaded.setdefault(name, [])  # known to a worker that starts meanwhile
            try:
                known = await self._all("unload", name=name, timeout_s=timeout_s)
            except NotFound:
                del self.unloaded[name]
                raise
            self.unloaded[name] = sorted({version for versions in known for version in versions})

    async def promote(self, name: str, version: int) -> dict[str, Any]:
        """See ``Lifecycle.promote``."""
        async with self._locks[name]:
            found = await self._on_disk(name)
            if version not in found:
                raise no_version(name, version, found)
            return await self._make_stable(name, version, partial(promote, version=version, versions=found))

    async def rollback(self, name: str) -> dict[str, Any]:
        """See ``Lifecycle.rollback``."""
        async with self._locks[name]:
            found = await self._on_disk(name)
            version = await asyncio.to_thread(rollback_target, self._models_dir / name, versions=found)
            return await self._make_stable(name, version, partial(rollback, versions=found))

    async def judge(self, worker: int, counts: Mapping[str, Any]) -> None:
        """Take up what a worker has seen of canaries, and halt those that have passed a limit in all workers."""
        for pair, seen in self._canaries.news(worker, counts):
            policy = await asyncio.to_thread(policy_in_force, self._models_dir / pair.name)
            if (reason := self._canaries.passed(pair, policy.rollout, seen)) is not None:
                await self._halt(pair, reason)

    def ended(self, worker: int) -> None:
        """A worker is gone; its successor counts from nothing."""
        self._canaries.ended(worker)

    async def _halt(self, pair: CanaryPair, reason: str) -> None:
        name = pair.name
        log.error("model %s: the canary is halted: %s", name, reason)
        for worker in self._workers():
            worker.channel.tell("halt", **pair._asdict(), reason=reason)
        try:
            is_written = await self._write(name, partial(halt, pair=pair, reason=reason))
        except ServingError as error:
            log.error("model %s: serving.json does not say so, and a restart tries the canary again: %s", name, error)
            return
        if is_written:
            self._follow(name)
        else:
            log.info("model %s: serving.json stays as it is: something else is tried by now", name)

    async def _make_stable(self, name: str, version: int, write: Callable[[Path], Promotion]) -> dict[str, Any]:
        """Load the version in all workers, then write serving.json, then let all follow it."""
        try:
            await self._all("prepare", name=name, version=version)
            promotion: Promotion = await self._write(name, write)
        except ServingError:
            self._follow(name)  # where it is loaded, it goes again
            raise
        self.unloaded.pop(name, None)
        await self._all("settle", name=name, version=version)
        log.info("model %s: version %d is stable, before it was %s", name, version, promotion.before)
        return asdict(promotion)

    async def _write(self, name: str, write: Callable[[Path], Any]) -> Any:
        async with self._writing:
            try:
                return await asyncio.to_thread(write, self._models_dir / name)
            except OSError as error:
                raise unwritable(name, error) from error

    async def _on_disk(self, name: str) -> list[int]:
        if self.draining:
            raise Draining("the service is shutting down")
        found = await asyncio.to_thread(scan, self._models_dir)
        if name not in found:
            raise no_model(name, found)
        return found[name]

    def _follow(self, name: str) -> None:
        for worker in self._workers():
            worker.channel.tell("follow", name=name)

    async def _all(self, call: str, **arguments: Any) -> list[Any]:
        """What all workers answer. One that ends meanwhile does not count: the next one starts from the same state.

        Raises:
            ServingError: the first error; says which worker if the others have another answer.
        """
        workers = self._workers()
        calls = (worker.channel.call(call, **arguments) for worker in workers)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        pairs = [pair for pair in zip(workers, answers, strict=True) if not isinstance(pair[1], ChannelClosed)]
        if not pairs:
            raise ServingError(f"{call} was done by no worker: all have ended")
        errors = [(worker, answer) for worker, answer in pairs if isinstance(answer, BaseException)]
        if not errors:
            return [answer for _, answer in pairs]
        worker, error = errors[0]
        if not isinstance(error, ServingError) or (len(errors) == len(pairs) and len({str(e) for _, e in errors}) == 1):
            raise error
        raise type(error)(f"{worker}: {error.message}")
