"""What the registry says of models that it does not know."""

import pytest

from app.errors import ModelNotFound, ModelNotReady
from app.lifecycle.registry import Registry


def test_at_the_start_a_model_that_is_not_known_yet_is_not_ready_and_later_not_found():
    registry = Registry(scan=dict, on_state=lambda *_: None)
    for ask in (registry.records, registry.get):
        with pytest.raises(ModelNotReady, match="models are loading, and model 'late' is not loaded yet; try again"):
            ask("late")
    registry.loading = False
    for ask in (registry.records, registry.get):
        with pytest.raises(ModelNotFound, match="model 'late' is not in the repository"):
            ask("late")
