"""When a retrained network may replace the published version, and the sentence that says why not."""

import numpy as np
import pytest

from training.measure.tasks import Classify, Regress
from training.retraining.comparison import Comparison


def classified(right, rows=1000):
    """Figures of a classifier with so many right answers."""
    answers = np.tile(np.float32([[0.9, 0.1]]), (rows, 1))
    return Classify().measure(answers, (np.arange(rows) >= right).astype(np.int32), names=("a", "b"))


def deviating(error):
    return Regress().measure(np.full((10, 1), error, np.float32), np.zeros((10, 1), np.float32), names=())


def compare(old, new, *, measured=classified, margin=0.005):
    before, after = zip(old, new, strict=True)
    figures = [measured(each) for each in (*before, *after)]
    names = ("published_old", "published_new", "retrained_old", "retrained_new")
    return Comparison(**dict(zip(names, figures, strict=True)), margin=margin)


@pytest.mark.parametrize(
    ("old", "new", "passed"),
    [
        ((900, 900), (500, 501), True),
        ((900, 895), (500, 600), True),  # exactly the margin
        ((900, 894), (500, 600), False),
        ((900, 950), (500, 500), False),
        ((900, 950), (500, 499), False),
    ],
)
def test_accuracy(old, new, passed):
    assert compare(old, new).passed is passed


@pytest.mark.parametrize(
    ("old", "new", "passed"),
    [((2.0, 2.0), (8.0, 7.9), True), ((2.0, 2.19), (8.0, 4.0), True), ((2.0, 2.21), (8.0, 4.0), False),
     ((2.0, 1.0), (8.0, 8.0), False)],
)  # fmt: skip
def test_of_an_error_less_is_better_and_the_margin_is_a_share_of_it(old, new, passed):
    assert compare(old, new, measured=deviating, margin=0.1).passed is passed


def test_the_sentence_has_the_figures_that_decided():
    assert compare((900, 800), (500, 400)).verdict == (
        "it does not replace the published version: on the old rows the accuracy went from 0.9000 to 0.8000, worse by "
        "more than the margin of 0.005; on the new rows the accuracy went from 0.5000 to 0.4000, which is not better"
    )
    assert compare((900, 898), (500, 600)).verdict == (
        "better than the published version: on the new rows the accuracy went from 0.5000 to 0.6000; on the old rows "
        "the accuracy went from 0.9000 to 0.8980, within the margin of 0.005"
    )
