"""A canary that has passed a limit: what is written down, and when."""

import asyncio
from collections import defaultdict
from types import SimpleNamespace

from app.lifecycle.aspired_versions import AspiredVersions
from app.lifecycle.registry import Registry
from app.repository.policy import CANARY, STABLE, CanaryPair, RollbackPolicy, RolloutPolicy, ServingPolicy

ROLLOUT = RolloutPolicy(rollback=RollbackPolicy(max_error_rate=0.1, min_requests=1))
POLICY = ServingPolicy(version_labels={STABLE: 1, CANARY: 2}, rollout=ROLLOUT)
REASON = "1 of 1 requests failed, more than max_error_rate 0.1 allows"


class FakeLoads:
    """Every version loads; serving.json is an attribute, and what is written or kept is a list."""

    def __init__(self):
        self.registry = Registry(scan=dict, on_state=lambda name, version, state: None)
        self.repository = self
        self.serving_json = POLICY
        self.halts, self.kept = [], []

    def forget_gone(self, name, versions):
        pass

    async def load_or_keep(self, name, version, policy, *, retry):
        record = self.registry.enter(name, version)
        record.model = record.model or SimpleNamespace(name=name, version=version)
        return record.model

    def policy(self, name):
        return self.serving_json

    def last_good(self, name):
        return self.kept[-1] if self.kept else None

    def remember(self, name, policy):
        self.kept.append(policy)

    def halt(self, pair, reason):
        self.halts.append((pair, reason))
        return self.serving_json.compares(pair)


def halt_while_it_changes(change):
    """The canary passes a limit while the model's lock is held and ``change(loads)`` is followed."""
    loads, locks = FakeLoads(), defaultdict(asyncio.Lock)
    aspired = AspiredVersions(loads, lambda name, broken: None, locks)

    async def main():
        await aspired.bring_about("m", [3, 2, 1], retry=True)
        rollout = loads.registry.rollout("m")
        async with locks["m"]:
            rollout.answered(rollout.canary, 500)
            change(loads)
            await aspired.bring_about("m", [3, 2, 1], retry=True)
            assert loads.halts == []
        async with locks["m"]:  # whoever waited for it before has had it
            return loads

    return asyncio.run(main())


def test_a_halt_is_written_and_kept_once_nothing_else_changes():
    loads = halt_while_it_changes(lambda loads: None)
    assert loads.halts == [(CanaryPair("m", 1, 2), REASON)]
    assert loads.registry.rollout("m").reason == REASON
    assert loads.kept[-1] == POLICY.model_copy(update={"rollout": ROLLOUT.model_copy(update={"halted": REASON})})


def test_no_halt_is_written_for_a_canary_that_has_followed_or_begins_anew():
    other = ROLLOUT.model_copy(update={"rollback": RollbackPolicy(max_error_rate=0.9)})
    for values in ({"version_labels": {STABLE: 1, CANARY: 3}}, {"rollout": other}):
        policy = POLICY.model_copy(update=values)
        loads = halt_while_it_changes(lambda loads, policy=policy: setattr(loads, "serving_json", policy))
        assert loads.halts == []
        assert loads.registry.rollout("m").reason is None
        assert loads.kept[-1] == policy
