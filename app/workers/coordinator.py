"""Commands in all workers; the supervisor's side of ``link``.

serving.json is written only here, so that workers never write it at the same time, and a canary is judged only here,
by the requests of all workers together.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app.errors import NotFound, ServingError
from app.lifecycle.commands import Commands
from app.repository.repository import Repository
from app.repository.rollout_policy import CanaryPair
from app.rollout.across_workers import Canaries
from app.workers.channel import ChannelClosed, Handler
from app.workers.handle import Worker


class Coordinator(Commands):
    """Does each step of a command in all workers.

    Args:
        repository: the models directory.
        workers: those that run now.

    Attributes:
        unloaded: models that were unloaded by command, and the versions known of each; a new worker does not load them.
        draining: the service is shutting down.
    """

    def __init__(self, repository: Repository, workers: Callable[[], Sequence[Worker]]) -> None:
        super().__init__(repository)
        self._workers = workers
        self._canaries = Canaries()
        self.unloaded: dict[str, list[int]] = {}
        self.draining = False

    @property
    def handlers(self) -> dict[str, Handler]:
        """A command that a worker may request."""
        return {
            "load": self.load,
            "unload": self.unload,
            "promote": self.promote,
            "rollback": self.rollback,
        }

    async def unload(self, name: str, timeout_s: float) -> None:
        """See ``Lifecycle.unload``."""
        async with self._locks[name]:
            self.unloaded.setdefault(name, [])  # for a worker that starts now
            try:
                known = await self._all("unload", name=name, timeout_s=timeout_s)
            except NotFound:
                del self.unloaded[name]
                raise
            self.unloaded[name] = sorted({version for versions in known for version in versions})

    async def judge(self, worker: int, counts: Mapping[str, Any]) -> None:
        """Add the counts of a worker for canaries, and halt in all workers those that have exceeded a limit."""
        halts = []
        for pair, seen in self._canaries.news(worker, counts):
            policy = (await asyncio.to_thread(self.repository.policy_in_effect, pair.name)).rollout
            if (reason := self._canaries.passed(pair, policy, seen)) is not None:
                self._tell("halt", **pair._asdict(), reason=reason, is_written=False)
                halts.append(self.halt(pair, reason, judged=policy))
        await asyncio.gather(*halts)  # each may wait for its model's lock

    def ended(self, worker: int) -> None:
        """Called when a worker has ended; its successor counts from zero."""
        self._canaries.ended(worker)

    @property
    def _is_draining(self) -> bool:
        return self.draining

    async def default_version(self, name: str, versions: list[int]) -> int | None:
        """The default version of most workers; they differ only where a version does not load in all of them."""
        known = Counter(await self._all("default_version", name=name, versions=versions))
        del known[None]
        return max(known, key=known.__getitem__, default=None)

    async def _load(self, name: str, versions: list[int]) -> None:
        self.unloaded.pop(name, None)
        await self._all("load", name=name)

    async def _stop_canary(self, pair: CanaryPair, reason: str) -> None:
        self._tell("halt", **pair._asdict(), reason=reason, is_written=True)

    async def _prepare(self, name: str, version: int) -> None:
        await self._all("prepare", name=name, version=version)

    async def _settle(self, name: str, version: int) -> None:
        self.unloaded.pop(name, None)
        await self._all("settle", name=name, version=version)

    async def _follow(self, name: str) -> None:
        self._tell("follow", name=name)

    def _tell(self, call: str, **arguments: Any) -> None:
        for worker in self._workers():
            worker.channel.tell(call, **arguments)

    async def _all(self, call: str, **arguments: Any) -> list[Any]:
        """The answers of all workers. One that ends before it answers does not count: its successor has the new state.

        Raises:
            ServingError: the first error; names the worker if the others have another answer.
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
