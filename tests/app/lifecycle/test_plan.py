"""The plan of a model: the steps from the loaded versions to the versions that serving.json specifies."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle.plan import (
    Load,
    Record,
    Retire,
    Served,
    ServeDefault,
    SetLabels,
    StartCanary,
    StopCanary,
    plan,
    unmet,
)
from app.repository.policy import CANARY, STABLE, ServingPolicy
from app.repository.recording_policy import RecordingPolicy
from app.repository.rollout_policy import CanaryPolicy, RolloutPolicy

SETTINGS = ServingPolicy().load_settings
OTHER = ServingPolicy(instances=2).load_settings
ROLLOUT = RolloutPolicy(canary=CanaryPolicy(percent=10))
HALTED = ROLLOUT.model_copy(update={"halted": "too bad"})


def policy(*, latest=None, specific=None, every=False, promoted=(), rollout=None, instances=1, **labels):
    version_policy = {"all": every}
    if latest is not None:
        version_policy["latest"] = {"num_versions": latest}
    if specific is not None:
        version_policy["specific"] = {"versions": tuple(specific)}
    return ServingPolicy.model_validate(
        {
            "version_policy": version_policy,
            "version_labels": labels,
            "promoted": tuple(promoted),
            "rollout": rollout or RolloutPolicy(),
            "instances": instances,
        }
    )


def served(*loaded, default=None, refused=(), canary=None, outdated=(), **labels):
    return Served(
        loaded=dict.fromkeys(loaded, SETTINGS) | dict.fromkeys(outdated, OTHER),
        refused=frozenset(refused),
        default=default,
        labels=labels,
        canary=canary,
    )


def pair(default, canary, rollout=None):
    return StartCanary(default, canary, rollout or RolloutPolicy())


@pytest.mark.parametrize(
    ("asked", "versions", "before", "steps"),
    [
        # The newest version is the default version; one that is refused makes room for the next.
        (policy(), [2, 1], served(), [Load(2)]),
        (policy(), [2, 1], served(refused=[2]), [Load(1)]),
        (policy(), [2, 1], served(2), [ServeDefault(2)]),
        (policy(), [2, 1], served(2, default=2), []),
        (policy(), [3, 2, 1], served(2, default=2), [Load(3)]),
        (policy(), [3, 2, 1], served(3, 2, default=2), [ServeDefault(3), Retire((2,))]),
        (policy(), [3, 2, 1], served(2, default=2, refused=[3]), []),
        (policy(), [2, 1], served(refused=[2, 1]), []),
        # The loaded version keeps answering until another one can, even if its files were removed.
        (policy(), [3], served(2, default=2, refused=[3]), []),
        (policy(), [3], served(3, 2, default=2), [ServeDefault(3), Retire((2,))]),
        # While no version answers, the first one that can becomes the default version.
        (policy(every=True), [2, 1], served(2), [ServeDefault(2), Load(1)]),
        (policy(latest=2), [3, 2, 1], served(3, default=3, refused=[2]), [Load(1)]),
        (policy(specific=[1]), [3, 2, 1], served(3, default=3), [Load(1)]),
        (policy(specific=[1]), [3, 2, 1], served(3, 1, default=3), [ServeDefault(1), Retire((3,))]),
        # Other settings: the version is loaded again, whichever version answers during the load.
        (policy(), [1], served(outdated=[1], default=1), [Load(1)]),
        (policy(instances=2), [1], served(outdated=[1], default=1), []),
        # The stable version; refused, it leaves the default version, and after a start the one promoted before it.
        (policy(stable=1), [2, 1], served(2, default=2), [Load(1)]),
        (policy(stable=1), [2, 1], served(2, 1, default=2), [ServeDefault(1), SetLabels({STABLE: 1})]),
        (policy(stable=3), [3, 2, 1], served(2, default=2, refused=[3], stable=3), []),
        (policy(stable=3, promoted=[2, 1]), [3, 2, 1], served(refused=[3]), [Load(1)]),
        (policy(stable=3, promoted=[2, 1]), [3, 2, 1], served(refused=[3, 1]), [Load(2)]),
        (policy(stable=3, promoted=[1]), [3, 2, 1], served(1, refused=[3]), [ServeDefault(1), Load(2)]),
        (policy(stable=3), [3, 2, 1], served(refused=[3]), [Load(2)]),
        (policy(stable=3, promoted=[1], old=2), [3, 2, 1], served(refused=[3]), [Load(1)]),
        (policy(stable=7), [2, 1], served(2, default=2, stable=7), []),
        # Labels serve in addition to the versions of version_policy.
        (policy(old=1), [3, 2, 1], served(3, default=3), [Load(1)]),
        (policy(old=1), [3, 2, 1], served(3, 1, default=3), [SetLabels({"old": 1})]),
        (policy(), [3, 2, 1], served(3, 1, default=3, old=1), [SetLabels({}), Retire((1,))]),
        (policy(old=1), [3, 2, 1], served(3, default=3, refused=[1]), [SetLabels({"old": 1})]),
        # The canary is not the default version, unless there is no other version.
        (policy(canary=2), [2, 1], served(), [Load(1)]),
        (policy(canary=2), [2, 1], served(1), [ServeDefault(1), Load(2)]),
        (policy(canary=2), [2, 1], served(2, 1, default=1), [SetLabels({CANARY: 2}), pair(1, 2)]),
        (policy(canary=2), [2, 1], served(2, 1, default=1, canary=pair(1, 2)), [SetLabels({CANARY: 2})]),
        (policy(canary=2), [2], served(2), [ServeDefault(2), SetLabels({CANARY: 2})]),
        (policy(stable=3, promoted=[2], canary=2), [3, 2, 1], served(2, refused=[3]), [Load(1)]),
        # It starts again with other limits, stays halted, and ends with its label.
        (
            policy(stable=1, canary=2, rollout=ROLLOUT),
            [2, 1],
            Served(
                loaded={1: policy().load_settings, 2: policy().load_settings},
                default=1,
                labels={STABLE: 1, CANARY: 2},
                canary=pair(1, 2),
            ),
            [pair(1, 2, ROLLOUT)],
        ),
        (
            policy(canary=2, rollout=HALTED),
            [2, 1],
            replace(served(2, 1, default=1, canary=pair(1, 2, HALTED)), labels={CANARY: 2}),
            [],
        ),
        (
            policy(),
            [2, 1],
            replace(served(2, 1, default=1, canary=pair(1, 2)), labels={CANARY: 2}),
            [ServeDefault(2), SetLabels({}), StopCanary(), Retire((1,))],
        ),
        (
            policy(stable=2),
            [2, 1],
            replace(served(2, 1, default=1, canary=pair(1, 2)), labels={STABLE: 1, CANARY: 2}),
            [ServeDefault(2), SetLabels({STABLE: 2}), StopCanary(), Retire((1,))],
        ),
    ],
)
def test_the_next_steps(asked, versions, before, steps):
    assert plan(asked, versions, before) == steps


@pytest.mark.parametrize(
    ("asked", "loaded", "version"),
    [
        (policy(), [3], None),
        (policy(), [2], 3),
        (policy(stable=2, old=1), [3], 2),
        (policy(stable=2, old=1), [3, 2], 1),
        (policy(stable=7), [3], None),
        (policy(latest=2), [3, 1], None),
    ],
)
def test_the_first_specified_version_that_does_not_serve(asked, loaded, version):
    assert unmet(asked, [3, 2, 1], served(*loaded)) == version


VERSIONS = st.integers(1, 5)
POLICIES = st.builds(
    policy,
    latest=st.none() | st.integers(1, 3),
    promoted=st.lists(VERSIONS, max_size=3),
    instances=st.sampled_from([1, 2]),
    rollout=st.sampled_from([None, ROLLOUT, HALTED]),
    **dict.fromkeys(("other",), VERSIONS),
) | st.builds(policy, specific=st.lists(VERSIONS, min_size=1, max_size=3), promoted=st.lists(VERSIONS, max_size=3))


@st.composite
def policies(draw):
    """Any version policy with any labels, of which stable and canary differ."""
    found = draw(POLICIES)
    labels = draw(st.dictionaries(st.sampled_from([STABLE, CANARY, "other"]), VERSIONS))
    if labels.get(STABLE) == labels.get(CANARY):
        labels.pop(CANARY, None)
    return found.model_copy(update={"version_labels": labels})


def take(state, step, policy, loads):
    """The versions served after a step, if only those in ``loads`` load."""
    match step:
        case Load(version) if version in loads:
            return replace(state, loaded={**state.loaded, version: policy.load_settings})
        case Load(version):
            return replace(state, refused=state.refused | {version})
        case ServeDefault(version):
            return replace(state, default=version)
        case SetLabels(labels):
            return replace(state, labels=labels)
        case StartCanary():
            return replace(state, canary=step)
        case StopCanary():
            return replace(state, canary=None)
        case Retire(versions):
            return replace(state, loaded={v: each for v, each in state.loaded.items() if v not in versions})


def execute(policy, versions, state, loads):
    """Take all steps, as ``AspiredVersions`` does; returns the states and steps in between, and the last state.

    A version that serves with other settings and does not load with these keeps serving: the policy cannot be followed.
    """
    way = []
    while steps := plan(policy, versions, state):
        assert len(way) < 100
        for step in steps:
            if isinstance(step, Load) and step.version in state.loaded and step.version not in loads:
                return way, state
            way.append((state, step))
            state = take(state, step, policy, loads)
    return way, state


@st.composite
def cases(draw):
    """A policy that is followed by another one, with other versions on the disk."""
    first, second = draw(policies()), draw(policies())
    disks = [sorted(draw(st.sets(VERSIONS, min_size=1)), reverse=True) for _ in range(2)]
    loads = [draw(st.sets(VERSIONS)) for _ in range(2)]
    _, state = execute(first, disks[0], Served(), loads[0])
    return second, disks[1], replace(state, refused=frozenset()), loads[1]


@given(cases())
def test_the_plan_ends_without_further_steps(case):
    policy, versions, before, loads = case
    way, after = execute(policy, versions, before, loads)
    assert plan(policy, versions, after) == [] or after.loaded.keys() - loads
    assert plan(policy, versions, before) == plan(policy, versions, before)
    loaded = [step.version for _, step in way if isinstance(step, Load)]
    assert len(loaded) == len(set(loaded))


@given(cases())
def test_a_version_answers_after_every_step_and_no_serving_version_retires(case):
    policy, versions, before, loads = case
    for state, step in execute(policy, versions, before, loads)[0]:
        after = take(state, step, policy, loads)
        if state.default is not None:
            assert after.default in after.loaded
        if after.canary is not None and not isinstance(step, ServeDefault):
            assert {after.canary.default, after.canary.canary} <= after.loaded.keys()
        if isinstance(step, Retire):
            assert state.default not in step.versions
            assert not {v for v in state.labels.values() if v in versions} & set(step.versions) & loads
        if isinstance(step, Load):
            assert step.version in versions
            assert step.version not in state.refused
            assert state.loaded.get(step.version) != policy.load_settings


@given(cases())
def test_in_the_end_the_policy_is_met_as_far_as_versions_load(case):
    policy, versions, before, loads = case
    _, after = execute(policy, versions, before, loads)
    if plan(policy, versions, after):
        return  # a version keeps settings that it does not load with
    stable, canary = policy.version_labels.get(STABLE), policy.version_labels.get(CANARY)
    candidates, count = policy.candidates(versions)
    if stable in versions and stable in after.loaded:
        assert after.default == stable
    elif stable is not None and before.default is not None:
        assert after.default == before.default
    assert after.labels == policy.version_labels
    if after.default is not None:
        asked = {version for version in policy.version_labels.values() if version in versions}
        best = [version for version in candidates if version in after.loaded][:count]
        assert set(after.loaded) - {after.default} <= asked | set(best)
    if after.canary is not None:
        assert after.canary == StartCanary(after.default, canary, policy.rollout)
        assert after.default != canary


def test_a_change_of_the_recording_is_the_first_step_even_while_a_version_has_to_load():
    recording = RecordingPolicy(sample=0.5)
    on = policy().model_copy(update={"recording": recording})
    assert plan(on, [2, 1], served(1, default=1)) == [Record(recording), Load(2)]
    assert plan(on, [1], replace(served(1, default=1), recording=recording)) == []
    assert plan(policy(), [2, 1], replace(served(1, default=1), recording=recording)) == [Record(None), Load(2)]
    assert on.load_settings == policy().load_settings, "no version is loaded again for it"
