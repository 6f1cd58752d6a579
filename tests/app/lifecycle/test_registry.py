"""Errors of the registry for unknown models."""

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
