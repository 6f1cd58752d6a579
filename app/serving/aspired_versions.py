"""Brings about what serving.json asks for: which versions are loaded, which answers, which is tried beside it."""

import asyncio
import logging
import time
from collections.abc import Mapping
from functools import partial

from app.errors import ServingError, VersionRefused
from app.repository.policy import CANARY, STABLE, ServingPolicy
from app.serving.model import LoadedModel
from app.serving.rollout import Rollout
from app.serving.version_loads import RETIRE_TIMEOUT_S, VersionLoads
from app.serving.versions import State, VersionRecord, listed

log = logging.getLogger("atelier.lifecycle")


class AspiredVersions:
    """Follows the policy of one model at a time; whoever calls holds the model's lock.

    Args:
        loads: loads and retires single versions.
    """

    def __init__(self, loads: VersionLoads) -> None:
        self.loads = loads
        self.registry = loads.registry
        self.repository = loads.repository
        self._halting: asyncio.Task[None] | None = None

    async def bring_about(self, name: str, versions: list[int], *, retry: bool) -> VersionRecord | None:
        """Load what is wanted and not there, then retire what is there and not wanted.

        Args:
            name: model.
            versions: of it on the disk, newest first.
            retry: also versions that were refused and have not changed.

        Returns:
            A version that is asked for by name, or is the newest, and is refused; None if all serve.

        Raises:
            VersionRefused: serving.json is broken, or wants only versions that are not there.
        """
        registry = self.registry
        self.loads.forget_gone(name, versions)
        policy = await self.policy(name, versions)
        labels = policy.version_labels
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
        for version in candidates:
            if wanted == 0:
                break
            wanted -= await loads(version)
        ready = {version: model for version, model in tried.items() if model is not None}
        live = self._choose_live(name, policy, ready, candidates)
        if live is not None:
            registry.serve(name, live)
            chosen = {live.version, *ready}
            surplus = [record for record in registry.records(name) if record.model and record.version not in chosen]
            reason = "unloaded: version_policy asks for other versions"
            await asyncio.gather(*(self.loads.retire(name, record, reason, RETIRE_TIMEOUT_S) for record in surplus))
        registry.label(name, labels)
        self._roll_out(name, policy, live, ready.get(labels.get(CANARY, 0)))
        for label, version in labels.items():
            if version not in ready:
                log.warning("model %s: label %r names version %d, which does not serve", name, label, version)
        asked = [version for version in (*named, *candidates[:1]) if version not in ready]
        return registry.record(name, asked[0]) if asked else None

    async def policy(self, name: str, versions: list[int]) -> ServingPolicy:
        """What serving.json of a model says.

        Raises:
            VersionRefused: it is broken, or wants only versions that are not there; said in their states as well.
        """
        try:
            policy = await asyncio.to_thread(self.repository.policy, name)
            if not policy.candidates(versions)[0]:
                raise VersionRefused(
                    f"serving.json of model {name!r}: version_policy.specific names none of the versions in the "
                    f"repository: {listed(versions)}"
                )
        except VersionRefused as error:
            log.error("model %s: %s", name, error.message)
            for version in versions:
                record = self.registry.enter(name, version)
                if record.model is None:
                    record.refused = True
                    self.registry.set(name, record, State.UNAVAILABLE, error.message)
            raise
        return policy

    def _choose_live(
        self, name: str, policy: ServingPolicy, ready: Mapping[int, LoadedModel], candidates: list[int]
    ) -> LoadedModel | None:
        """Stable if that is loaded, or the newest. If stable is refused, what served before goes on."""
        stable = policy.version_labels.get(STABLE)
        if stable is not None and (live := ready.get(stable) or self.registry.live(name)) is not None:
            return live
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
        new = Rollout(policy.rollout, live, canary, partial(self._halt, name), clock=time.perf_counter)
        new.reason = policy.rollout.halted
        if old is not None and same:
            new.comparison = old.comparison
        self.registry.roll_out(name, new)

    def _halt(self, name: str, reason: str) -> None:
        """A canary has passed a limit: write that down, so that it stays so after a restart."""
        log.error("model %s: the canary is halted: %s", name, reason)
        self._halting = asyncio.create_task(self._write_halt(name, reason))

    async def _write_halt(self, name: str, reason: str) -> None:
        try:
            await asyncio.to_thread(self.repository.halt, name, reason)
        except (OSError, ServingError) as error:
            log.error("model %s: serving.json does not say so, and a restart tries the canary again: %s", name, error)
