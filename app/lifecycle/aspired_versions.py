"""Brings about what serving.json asks for: which versions are loaded, which answers, which is tried beside it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from app.errors import VersionRefused
from app.lifecycle.version_loads import RETIRE_TIMEOUT_S, VersionLoads
from app.lifecycle.versions import State, VersionRecord
from app.loaded import LoadedModel
from app.repository.missing import listed
from app.repository.policy import CANARY, STABLE, ServingPolicy
from app.rollout.canary import Rollout

log = logging.getLogger("atelier.lifecycle")


class AspiredVersions:
    """Follows the policy of one model at a time; whoever calls holds the model's lock.

    Args:
        loads: loads and retires single versions.
        on_policy: is told whether serving.json of a model is broken (model, broken), each time it is read.
        on_limit: is told when a canary passes a limit, and why; None: the supervisor judges canaries.
    """

    def __init__(
        self,
        loads: VersionLoads,
        on_policy: Callable[[str, bool], None],
        on_limit: Callable[[Rollout, str], None] | None,
    ) -> None:
        self.loads = loads
        self.registry = loads.registry
        self.repository = loads.repository
        self._on_policy = on_policy
        self._on_limit = on_limit
        # Model -> the version that the log said to answer requests that name none.
        self._announced: dict[str, int] = {}
        # Model -> the policy that was followed last.
        self._followed: dict[str, ServingPolicy] = {}
        self._unkept: set[str] = set()

    async def bring_about(self, name: str, versions: list[int], *, retry: bool) -> VersionRecord | None:
        """Load what is wanted and not there, then retire what is there and not wanted.

        Args:
            name: model.
            versions: of it on the disk, newest first.
            retry: also versions that were refused and have not changed.

        Returns:
            A version that is asked for by name, or is the newest, and is refused; None if all serve.

        Raises:
            VersionRefused: serving.json is broken, or wants what is not there or does not load. The policy that was
                followed last holds then, and is brought about.
        """
        self.loads.forget_gone(name, versions)
        try:
            policy = await self.policy(name, versions)
            refused = await self._follow(name, versions, policy, retry=retry)
        except VersionRefused as error:
            if not await self._hold(name, versions, error, retry=retry):
                self._refuse_all(name, versions, error)
            raise
        if self.registry.live(name) is None and refused is not None:  # after a start: it may be for the settings
            none = VersionRefused(f"no version loads as serving.json is: version {refused.version}: {refused.reason}")
            if await self._hold(name, versions, none, retry=retry, tried=policy):
                raise none
        self._on_policy(name, False)
        if self.registry.live(name) is not None:
            self._followed[name] = policy
            await self._remember(name, policy)
        return refused

    async def _hold(
        self, name: str, versions: list[int], error: VersionRefused, *, retry: bool, tried: ServingPolicy | None = None
    ) -> bool:
        """Follow the policy that was followed last, as serving.json cannot be; whether a version serves by it."""
        kept = await asyncio.to_thread(self.repository.last_good, name)
        policy = self._followed.get(name) or kept
        if policy is None or policy == tried:
            return False
        with suppress(VersionRefused):  # said in the log
            await self._follow(name, versions, policy, retry=retry)
        if self.registry.live(name) is None:
            return False
        log.error("model %s: %s; what serving.json said last holds", name, error.message)
        self._on_policy(name, True)
        for record in self.registry.records(name):
            if record.model is not None:
                record.reason = f"{error.message}; it goes on serving as before"
        self._followed[name] = policy
        if kept is None:  # there was no serving.json before; what another process has kept is newer
            await self._remember(name, policy)
        return True

    def _refuse_all(self, name: str, versions: list[int], error: VersionRefused) -> None:
        """Say in the state of every version that serving.json is broken, and nobody knows what it said before."""
        log.error("model %s: %s", name, error.message)
        self._on_policy(name, True)
        for version in versions:
            record = self.registry.enter(name, version)
            if record.model is not None:
                record.reason = f"{error.message}; it goes on serving as before"
            elif not record.reason:  # never tried
                record.refused = True
                self.registry.set(name, record, State.UNAVAILABLE, error.message)

    async def _remember(self, name: str, policy: ServingPolicy) -> None:
        """Keep a policy beyond the life of this process."""
        try:
            await asyncio.to_thread(self.repository.remember, name, policy)
            self._unkept.discard(name)
        except OSError as error:
            if name not in self._unkept:
                log.warning(
                    "model %s: what serving.json says cannot be kept beside it: %s. If it breaks, a start finds what "
                    "was kept before, or does not serve the model",
                    name,
                    error.strerror,
                )
            self._unkept.add(name)

    async def _follow(
        self, name: str, versions: list[int], policy: ServingPolicy, *, retry: bool
    ) -> VersionRecord | None:
        """Bring about what a policy asks for; see ``bring_about``."""
        registry = self.registry
        labels = policy.version_labels
        for record in registry.records(name) if name in registry.names() else ():
            record.reason = "" if record.state is State.READY else record.reason  # of a serving.json broken before
        candidates, wanted = policy.candidates(versions)
        named = [labels[label] for label in (STABLE, *sorted(labels)) if labels.get(label) in versions]
        tried: dict[int, LoadedModel | None] = {}

        async def loads(version: int) -> bool:
            if version not in tried:
                tried[version] = model = await self.loads.load_or_keep(name, version, policy, retry=retry)
                if model is not None and registry.live(name) is None and version != labels.get(CANARY):
                    registry.serve(name, model)  # the others may take a while to load
            return tried[version] is not None

        for version in named:
            await loads(version)
        if labels.get(STABLE) is not None and tried.get(labels[STABLE]) is None and registry.live(name) is None:
            # After a start with a stable version that is refused: what was stable before it, not the newest.
            for version in [each for each in reversed(policy.promoted) if each in versions]:
                if await loads(version):
                    break
        for version in candidates:
            if wanted == 0:
                break
            wanted -= await loads(version)
        ready = {version: model for version, model in tried.items() if model is not None}
        live = self._choose_live(name, policy, ready, candidates)
        if live is not None:
            if (before := self._announced.get(name)) != live.version:
                was = f", before it was {before}" if before is not None else ""
                log.info("model %s: version %d answers requests that name none%s", name, live.version, was)
                self._announced[name] = live.version
            registry.serve(name, live)
        # Before anything retires: no request may be sent to what ends.
        registry.label(name, labels)
        self._roll_out(name, policy, live, ready.get(labels.get(CANARY, 0)))
        if live is not None:
            chosen = {live.version, *ready}
            surplus = [record for record in registry.records(name) if record.model and record.version not in chosen]
            await asyncio.gather(
                *(
                    self.loads.retire(name, record, _why_retired(record.version, versions), RETIRE_TIMEOUT_S)
                    for record in surplus
                )
            )
        for label, version in labels.items():
            if version not in ready:
                goes_on = live is not None and live.version == version
                how = "is gone from the disk and goes on serving" if goes_on else "does not serve"
                log.warning("model %s: label %r names version %d, which %s", name, label, version, how)
        asked = [version for version in (*named, *candidates[:1]) if version not in ready]
        return registry.record(name, asked[0]) if asked else None

    async def policy(self, name: str, versions: list[int]) -> ServingPolicy:
        """What serving.json of a model says.

        Raises:
            VersionRefused: it is broken, or wants only versions that are not there.
        """
        policy = await asyncio.to_thread(self.repository.policy, name)
        if not policy.candidates(versions)[0]:
            raise VersionRefused(
                f"serving.json of model {name!r}: version_policy.specific names none of the versions in the "
                f"repository: {listed(versions)}"
            )
        return policy

    def _choose_live(
        self, name: str, policy: ServingPolicy, ready: Mapping[int, LoadedModel], candidates: list[int]
    ) -> LoadedModel | None:
        """Stable if that is loaded, or the newest. If stable is refused, what served before goes on."""
        stable = policy.version_labels.get(STABLE)
        if stable is not None and (live := ready.get(stable) or self.registry.live(name)) is not None:
            return live
        if stable is not None:
            candidates = [*reversed(policy.promoted), *candidates]
        return next((ready[version] for version in candidates if version in ready), None)

    def _roll_out(self, name: str, policy: ServingPolicy, live: LoadedModel | None, canary: LoadedModel | None) -> None:
        """Try the canary beside ``live``; what is known of the same two goes on being known."""
        if live is None or canary is None or live is canary:
            self.registry.roll_out(name, None)
            return
        old = self.registry.rollout(name)
        same = old is not None and (old.stable, old.canary) == (live, canary)
        if old is not None and same and old.policy == policy.rollout:
            return
        new = Rollout(policy.rollout, live, canary, self._on_limit, clock=time.perf_counter)
        new.reason = policy.rollout.halted
        if old is not None and same and (old.reason is None or new.reason is not None):
            new.comparison = old.comparison
        log.info(
            "model %s: version %d is tried beside %d%s",
            name,
            canary.version,
            live.version,
            f": no more, {new.reason}" if new.reason is not None else "",
        )
        self.registry.roll_out(name, new)


def _why_retired(version: int, versions: list[int]) -> str:
    if version not in versions:
        return "unloaded: it is gone from the disk"
    return "unloaded: version_policy asks for other versions"
