"""Makes a model serve as its serving.json specifies: takes the steps of ``plan``, and keeps the last valid file."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from app.errors import VersionRefused
from app.lifecycle.last_valid import LastValidPolicies
from app.lifecycle.plan import (
    Load,
    Record,
    Retire,
    Served,
    ServeDefault,
    SetLabels,
    StartCanary,
    Step,
    StopCanary,
    plan,
    unmet,
)
from app.lifecycle.version_loads import RETIRE_TIMEOUT_S, VersionLoads
from app.lifecycle.versions import State, VersionRecord
from app.recording.recording import Recording
from app.repository.missing import listed
from app.repository.policy import ServingPolicy
from app.repository.recording_policy import RecordingPolicy
from app.rollout.canary import Rollout

log = logging.getLogger("atelier.lifecycle")


class AspiredVersions:
    """Follows the policy of one model at a time; the caller must hold the lock of the model.

    Args:
        loads: loads and retires single versions.
        on_policy: called with (model, whether its serving.json is broken) each time it is read.
        on_limit: called when a canary exceeds a limit, with the reason; None: the supervisor judges canaries.
        start_recording: makes what records the requests of a model.
    """

    def __init__(
        self,
        loads: VersionLoads,
        on_policy: Callable[[str, bool], None],
        on_limit: Callable[[Rollout, str], None] | None,
        start_recording: Callable[[str, RecordingPolicy], Recording] = Recording,
    ) -> None:
        self.loads = loads
        self.registry = loads.registry
        self._repository = loads.repository
        self._on_policy = on_policy
        self._on_limit = on_limit
        self._start_recording = start_recording
        self._valid = LastValidPolicies(loads.repository)

    async def apply(self, name: str, versions: list[int], *, retry: bool) -> VersionRecord | None:
        """Follow serving.json of a model.

        Args:
            name: model.
            versions: of it on the disk, newest first.
            retry: load versions again that were refused and have not changed.

        Returns:
            A refused version that the policy names or that is the newest; None if all serve.

        Raises:
            VersionRefused: serving.json is broken, or a specified version is missing or does not load. The last valid
                one stays in effect.
        """
        self.loads.forget_gone(name, versions)
        try:
            policy = await self._policy(name, versions)
            refused = await self._follow(name, versions, policy, retry=retry)
        except VersionRefused as error:
            if not await self._follow_last_valid(name, versions, error, retry=retry):
                self._refuse_all(name, versions, error)
            raise
        if self.registry.default(name) is None and refused is not None:  # after a start: the settings may be the reason
            why = f"version {refused.version}: {refused.reason}"
            nothing = VersionRefused(f"no version loads with the settings in serving.json: {why}")
            if await self._follow_last_valid(name, versions, nothing, retry=retry, failed=policy):
                raise nothing
        self._on_policy(name, False)
        if self.registry.default(name) is not None:
            await self._valid.keep(name, policy)
        return refused

    async def load_default(self, name: str, versions: list[int]) -> None:
        """Load the default version and no other; if none loads, the records have the reasons.

        Raises:
            VersionRefused: serving.json is broken.
        """
        policy = await self._policy(name, versions)
        await self._follow(name, versions, policy, retry=True, only_default=True)

    async def _policy(self, name: str, versions: list[int]) -> ServingPolicy:
        policy = await asyncio.to_thread(self._repository.policy, name)
        if not policy.candidates(versions)[0]:
            raise VersionRefused(
                f"version_policy.specific of model {name!r} names none of the versions in the repository: "
                f"{listed(versions)}"
            )
        return policy

    async def _follow_last_valid(
        self,
        name: str,
        versions: list[int],
        error: VersionRefused,
        *,
        retry: bool,
        failed: ServingPolicy | None = None,
    ) -> bool:
        """Follow the last valid policy, as serving.json cannot be followed; whether a version serves then."""
        policy = await self._valid.get(name)
        if policy is None or policy == failed:
            return False
        with suppress(VersionRefused):  # in the log
            await self._follow(name, versions, policy, retry=retry)
        if self.registry.default(name) is None:
            return False
        log.error("model %s: %s; the last valid serving.json stays in effect", name, error.message)
        self._on_policy(name, True)
        for record in self.registry.records(name):
            if record.model is not None:
                record.reason = _as_before(error)
        await self._valid.keep(name, policy, overwrite=False)
        return True

    def _refuse_all(self, name: str, versions: list[int], error: VersionRefused) -> None:
        """Set the state of every version: serving.json is broken, and no valid one is known."""
        log.error("model %s: %s", name, error.message)
        self._on_policy(name, True)
        for version in versions:
            record = self.registry.enter(name, version)
            if record.model is not None:
                record.reason = _as_before(error)
            elif not record.reason:  # never loaded
                record.refused = True
                self.registry.set(name, record, State.UNAVAILABLE, error.message)

    async def _follow(
        self, name: str, versions: list[int], policy: ServingPolicy, *, retry: bool, only_default: bool = False
    ) -> VersionRecord | None:
        """Take the steps of the plan until none is left; see ``apply``."""
        for version in self.registry.models(name):
            self.registry.record(name, version).reason = ""  # of a serving.json that was broken before
        refused: set[int] = set()
        while steps := plan(policy, versions, self._served(name, refused)):
            for step in steps:
                if isinstance(step, Load):
                    if await self.loads.load(name, step.version, policy, retry=retry) is None:
                        refused.add(step.version)
                else:
                    await self._take(name, step, versions)
                if only_default and self.registry.default(name) is not None:
                    return None
        served = self._served(name, refused)
        _warn_of_labels(name, policy, versions, served)
        missing = unmet(policy, versions, served)
        return self.registry.record(name, missing) if missing is not None else None

    def _served(self, name: str, refused: set[int]) -> Served:
        default, rollout = self.registry.default(name), self.registry.rollout(name)
        recording = self.registry.recording(name)
        running = None
        if rollout is not None:
            running = StartCanary(rollout.stable.version, rollout.canary.version, rollout.policy)
        return Served(
            loaded={version: model.load_settings for version, model in self.registry.models(name).items()},
            refused=frozenset(refused),
            default=default.version if default is not None else None,
            labels=self.registry.labels(name),
            canary=running,
            recording=None if recording is None else recording.policy,
        )

    async def _take(self, name: str, step: Step, versions: list[int]) -> None:
        """Take a step other than ``Load``."""
        registry = self.registry
        models = registry.models(name)
        match step:
            case Record():
                self._record(name, step.recording)
            case ServeDefault():
                before = registry.default(name)
                was = f" (previously {before.version})" if before is not None else ""
                log.info("model %s: the default version is %d%s", name, step.version, was)
                registry.set_default(name, models[step.version])
            case SetLabels():
                registry.label(name, step.labels)
            case StartCanary():
                self._start_canary(
                    name,
                    Rollout(
                        step.rollout, models[step.default], models[step.canary], self._on_limit, clock=time.perf_counter
                    ),
                )
            case StopCanary():
                registry.roll_out(name, None)
            case Retire():
                await asyncio.gather(*(self._retire(name, version, versions) for version in step.versions))

    def _record(self, name: str, policy: RecordingPolicy | None) -> None:
        if policy is None:
            log.info("model %s: requests are no longer recorded", name)
        self.registry.record_with(name, None if policy is None else self._start_recording(name, policy))

    def _start_canary(self, name: str, new: Rollout) -> None:
        """Compare two versions; the figures of the same two versions are kept, unless a halt was removed."""
        old, new.reason = self.registry.rollout(name), new.policy.halted
        if old is not None and old.pair == new.pair and (old.reason is None or new.reason is not None):
            new.comparison = old.comparison
        halted = f", halted: {new.reason}" if new.reason is not None else ""
        log.info("model %s: version %d is the canary of version %d%s", name, new.pair.canary, new.pair.stable, halted)
        self.registry.roll_out(name, new)

    async def _retire(self, name: str, version: int, versions: list[int]) -> None:
        is_there = version in versions
        why = "unloaded: version_policy asks for other versions" if is_there else "unloaded: it is gone from the disk"
        await self.loads.retire(name, self.registry.record(name, version), why, RETIRE_TIMEOUT_S)


def _warn_of_labels(name: str, policy: ServingPolicy, versions: list[int], served: Served) -> None:
    for label, version in policy.version_labels.items():
        if version not in versions or version not in served.loaded:
            how = "is gone from the disk and continues to serve" if version == served.default else "does not serve"
            log.warning("model %s: label %r names version %d, which %s", name, label, version, how)


def _as_before(error: VersionRefused) -> str:
    return f"{error.message}; it continues to serve as before"
