"""Errors of the registry for unknown models, and which requests are answered together."""

from types import SimpleNamespace

import pytest

from app.errors import ModelNotFound, ModelNotReady
from app.lifecycle.registry import Registry
from app.lifecycle.versions import State


def test_at_the_start_a_model_that_is_not_known_yet_is_not_ready_and_later_not_found():
    registry = Registry(scan=dict, on_state=lambda *_: None)
    for ask in (registry.records, registry.get):
        with pytest.raises(ModelNotReady, match="models are loading, and model 'late' is not loaded yet; try again"):
            ask("late")
    registry.loading = False
    for ask in (registry.records, registry.get):
        with pytest.raises(ModelNotFound, match="Request for unknown model: 'late' is not found"):
            ask("late")


def test_versions_that_do_not_serve_for_the_same_reason_are_named_together():
    registry = Registry(scan=dict, on_state=lambda *_: None)
    for version, reason in ((1, "unloaded"), (2, "broken"), (10, "unloaded")):
        registry.set("m", registry.enter("m", version), State.UNAVAILABLE, reason)
    states = "versions 1, 10 are UNAVAILABLE: unloaded; version 2 is UNAVAILABLE: broken"
    with pytest.raises(ModelNotReady, match=f"model 'm' has no version that serves \\({states}\\)"):
        registry.get("m")


def test_while_requests_are_recorded_none_are_answered_together():
    registry = Registry(scan=dict, on_state=lambda *_: None)
    model = SimpleNamespace(version=1)
    registry.set_default("m", model)
    registry.set_default("other", model)
    on, off = SimpleNamespace(is_on=True), SimpleNamespace(is_on=False)
    assert registry.only("m") is model
    registry.record_with("m", on)
    assert (registry.only("m"), registry.only("other"), registry.recorded) == (None, model, {"m": on})
    registry.roll_out("m", rollout := SimpleNamespace(end=lambda: None))
    registry.record_with("m", off)
    assert (registry.only("m"), registry.recorded, registry.recording("m")) == (None, {}, off)
    registry.roll_out("m", None)
    assert registry.only("m") is model
    registry.record_with("m", on)
    registry.roll_out("m", rollout)
    registry.roll_out("m", None)
    assert registry.only("m") is None
    registry.record_with("m", None)
    assert (registry.only("m"), registry.recording("m")) == (model, None)
