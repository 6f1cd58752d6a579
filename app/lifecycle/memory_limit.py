"""Most memory of all loaded versions: above it, the least recently used models go to sleep."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic
from typing import Protocol

from app.errors import NoRoom, VersionRefused
from app.loaded import LoadedModel

log = logging.getLogger("atelier.lifecycle")

MIB = 2**20
# A model that is changed at the moment may be able to sleep soon: wait this long for it, looking again at intervals.
PATIENCE_S = 5.0
LOOK_AGAIN_S = 0.05


class Memory(Protocol):
    """What holds memory now, and what can give some back."""

    def loaded(self) -> list[LoadedModel]:
        """Every version that is loaded."""
        ...

    def retiring_bytes(self) -> int:
        """Memory of versions that finish their last requests."""
        ...

    def may_ever_sleep(self, name: str) -> bool:
        """Whether a model can go to sleep, now or when the present change of it is over."""
        ...

    def is_changing(self, name: str) -> bool:
        """Whether a model is being loaded, unloaded or changed."""
        ...

    def sleep(self, name: str) -> Awaitable[None]:
        """Put a model to sleep that is not changing; returns when its memory is free."""
        ...


class MemoryLimit:
    """Keeps the memory of loaded versions below a limit; a loading version is not counted until it is ready.

    Args:
        memory: what there is.
        limit_bytes: of ``LoadedModel.memory_bytes`` of all versions together.
        clock, rest: monotonic seconds, and a pause.

    Attributes:
        was_reached: a model had to go to sleep.
    """

    def __init__(
        self,
        memory: Memory,
        limit_bytes: int,
        *,
        clock: Callable[[], float] = monotonic,
        rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._memory = memory
        self._limit_bytes = limit_bytes
        self._clock, self._rest = clock, rest
        self._known: dict[tuple[str, int], int] = {}
        self._sleeping: set[asyncio.Future[None]] = set()
        self.was_reached = False

    async def before_load(self, name: str, version: int) -> None:
        """Make room for a version that was loaded before; the memory of other versions is not known yet.

        Raises:
            NoRoom: see ``after_load``.
        """
        known_bytes = self._known.get((name, version), 0)
        if known_bytes <= self._limit_bytes:  # otherwise its files or settings may have changed
            await self._make_room(name, version, known_bytes)

    async def after_load(self, model: LoadedModel) -> None:
        """Make room for a version that is ready, and not in the registry yet: put it there before the next await.

        Raises:
            VersionRefused: as measured, it takes more than the limit alone.
            NoRoom: it does not fit next to models that cannot go to sleep.
        """
        need_bytes = self._known[model.name, model.version] = model.memory_bytes
        if need_bytes > self._limit_bytes and not model.memory_is_measured:
            need_bytes = self._limit_bytes  # the next load may be measured; until then it serves alone
        if need_bytes > self._limit_bytes:
            raise VersionRefused(
                f"takes about {_in_mib(need_bytes)} MiB; --model-memory-limit-mb allows {_in_mib(self._limit_bytes)} "
                "MiB for all models"
            )
        await self._make_room(model.name, model.version, need_bytes)

    async def _make_room(self, name: str, version: int, need_bytes: int) -> None:
        ends_at = self._clock() + PATIENCE_S
        while not self._fits(need_bytes):
            left_s = ends_at - self._clock()
            if not self._could_fit(name, need_bytes) or left_s <= 0:
                raise NoRoom(
                    f"model {name!r} version {version} takes about {_in_mib(need_bytes)} MiB, and no other model can "
                    f"be unloaded now to stay below {_in_mib(self._limit_bytes)} MiB (--model-memory-limit-mb); try "
                    "again"
                )
            victim = self._least_recently_used(besides=name)
            if victim is None:
                await self._rest(LOOK_AGAIN_S)
                continue
            self.was_reached = True
            log.info("model %s is unloaded: model %s needs about %d MiB", victim, name, _in_mib(need_bytes))
            # Whoever waits may be cancelled or give up; the victim is unloaded all the same. It may have to finish a
            # long request: nobody else waits for that.
            sleeping = asyncio.ensure_future(self._memory.sleep(victim))
            self._sleeping.add(sleeping)
            sleeping.add_done_callback(self._sleeping.discard)
            ended, _ = await asyncio.wait([sleeping], timeout=left_s)
            for each in ended:
                each.result()

    def _fits(self, more_bytes: int) -> bool:
        held = sum(model.memory_bytes for model in self._memory.loaded()) + self._memory.retiring_bytes()
        return held + more_bytes <= self._limit_bytes

    def _could_fit(self, name: str, need_bytes: int) -> bool:
        """Whether the version would fit if all others slept that may ever sleep: otherwise none needs to."""
        stay = sum(model.memory_bytes for model in self._memory.loaded() if not self._can_give(model, besides=name))
        return stay + need_bytes <= self._limit_bytes

    def _can_give(self, model: LoadedModel, besides: str) -> bool:
        return model.name != besides and self._memory.may_ever_sleep(model.name)

    def _candidates(self, besides: str) -> Iterator[LoadedModel]:
        for model in self._memory.loaded():
            if self._can_give(model, besides) and not self._memory.is_changing(model.name):
                yield model

    def _least_recently_used(self, besides: str) -> str | None:
        """The model without requests that was not used for longest; else the first of the others; None: no models."""
        used: dict[str, tuple[bool, float]] = {}
        for model in self._candidates(besides):
            last = max((each.leases.in_use, each.leases.used_at) for each in model.with_signatures)
            used[model.name] = max(last, used.get(model.name, last))
        return min(used, key=used.__getitem__) if used else None


def _in_mib(size: int) -> int:
    return -(-size // MIB)
