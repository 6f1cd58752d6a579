"""The figure that decides between two networks of one task: accuracy, or the root mean squared error."""

from training.measure.tasks import Deviation, Measured

_ROUNDING = 1e-9


def is_error(measured: Measured) -> bool:
    """Whether the figure is an error, of which less is better."""
    return isinstance(measured, Deviation)


def figure(measured: Measured) -> float:
    """The figure that decides: accuracy, or the root mean squared error."""
    return float(measured.as_json()["rmse" if is_error(measured) else "accuracy"])


def shown(measured: Measured) -> str:
    """The figure without its name."""
    return measured.headline.rpartition(" ")[2]


def name_of(measured: Measured) -> str:
    """The name of the figure."""
    return measured.headline.rpartition(" ")[0]


def is_within(before: Measured, after: Measured, margin: float) -> bool:
    """Whether a figure is not worse than before by more than the margin: of accuracy, or a share of an error."""
    if is_error(before):
        return figure(after) <= figure(before) * (1 + margin) + _ROUNDING
    return figure(after) >= figure(before) - margin - _ROUNDING
