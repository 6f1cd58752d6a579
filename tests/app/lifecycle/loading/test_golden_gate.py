"""The comparisons of the golden gate, and their tolerances."""

import numpy as np
import pytest

from app.contract.golden import Golden
from app.errors import VersionRefused
from app.lifecycle.loading.golden_gate import replay

OUTPUTS = {
    "price": np.full((64, 1), 1e5, np.float32),
    "probability": np.full((64, 1), 0.5, np.float32),
    "label": np.full((64,), 2**62, np.int64),
    "is_sold": np.arange(64) % 2 == 0,
}
GOLDEN = Golden(inputs={"x": np.arange(64, dtype=np.float32)}, outputs=OUTPUTS, tolerance={"default": 1.0})


def answering(**changed):
    """A backend that gives the golden answers, with changes."""
    outputs = OUTPUTS | changed
    return lambda inputs: {name: values[inputs["x"].astype(int)] for name, values in outputs.items()}


def test_equal_answers_pass():
    assert replay(GOLDEN, answering(), batch_size=7, provider="any") == 0.0


def test_the_largest_difference_within_the_tolerances_is_returned():
    run = answering(price=OUTPUTS["price"] + np.float32(0.5))
    assert replay(GOLDEN, run, batch_size=7, provider="any") == 0.5


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("price", OUTPUTS["price"] + np.float32(2)),
        ("probability", OUTPUTS["probability"] + np.float32(1e-4)),
        ("label", OUTPUTS["label"] + 1),  # as a float64 it would be equal
        ("is_sold", ~OUTPUTS["is_sold"]),
        ("price", np.full((64, 1), np.nan, np.float32)),
    ],
)
def test_each_output_is_compared_with_its_own_tolerance(name, changed):
    with pytest.raises(VersionRefused, match=f"golden row 0: output '{name}' differs from Keras by"):
        replay(GOLDEN, answering(**{name: changed}), batch_size=7, provider="any")
