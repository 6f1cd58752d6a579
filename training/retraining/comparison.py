"""Whether a retrained network may replace the published version: four figures and a margin. Imports no TensorFlow."""

from dataclasses import dataclass
from typing import Any

from training.measure.decisive import figure, is_error, is_within, name_of, shown
from training.measure.tasks import Measured

MARGIN = 0.005
"""Default: half a point of accuracy, as between validation and target; of an error, this share of it."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The published version and the retrained network, each on the same two sets of rows.

    Attributes:
        published_old, published_new: of the published version, on old validation rows and on held-out new rows.
        retrained_old, retrained_new: of the retrained network.
        margin: how much worse it may be on the old rows.
    """

    published_old: Measured
    retrained_old: Measured
    published_new: Measured
    retrained_new: Measured
    margin: float

    @property
    def keeps_old(self) -> bool:
        """Whether it is not worse on the old rows by more than the margin."""
        return is_within(self.published_old, self.retrained_old, self.margin)

    @property
    def learns_new(self) -> bool:
        """Whether it is better on the new rows."""
        before, after = figure(self.published_new), figure(self.retrained_new)
        return after < before if is_error(self.published_new) else after > before

    @property
    def passed(self) -> bool:
        """Both."""
        return self.keeps_old and self.learns_new

    @property
    def verdict(self) -> str:
        """A sentence with the figures that decided."""
        name = name_of(self.published_old)
        allowed = f"the margin of {self.margin:g}" + (" of it" if is_error(self.published_old) else "")
        old = f"on the old rows the {name} went from {shown(self.published_old)} to {shown(self.retrained_old)}"
        new = f"on the new rows the {name} went from {shown(self.published_new)} to {shown(self.retrained_new)}"
        if self.passed:
            return f"better than the published version: {new}; {old}, within {allowed}"
        reasons = [
            *([] if self.keeps_old else [f"{old}, worse by more than {allowed}"]),
            *([] if self.learns_new else [f"{new}, which is not better"]),
        ]
        return "it does not replace the published version: " + "; ".join(reasons)

    def as_json(self) -> dict[str, Any]:
        """For metrics.json."""
        return {
            "margin": self.margin,
            "old_validation": {"published": self.published_old.as_json(), "retrained": self.retrained_old.as_json()},
            "new_held_out": {"published": self.published_new.as_json(), "retrained": self.retrained_new.as_json()},
        }
