"""Figures of sets of labels, against ones worked out by hand."""

import json
from math import log

import numpy as np
import pytest

from training.measure.label_sets import MultiLabel

NAMES = ("red", "round", "soft")
TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]], bool)
ANSWERS = np.float32([[0.9, 0.2, 0.1], [0.8, 0.4, 0.6], [0.1, 0.3, 0.2], [0.5, 0.9, 0.4]])


def measured(**settings):
    return MultiLabel(**settings).measure(ANSWERS, TRUTH, names=NAMES)


def test_each_label_and_their_means_are_measured_at_the_threshold():
    found = measured()  # given: red; red, soft; nothing; red, round
    assert (found.rows, found.support, found.threshold) == (4, (3, 1, 0), 0.5)
    assert (found.precision, found.recall, found.f1) == ((1, 0, 0), (1, 0, 0), (1, 0, 0))
    assert found.micro_f1 == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))  # 3 right, 2 given wrongly, 1 not given
    assert found.macro_f1 == pytest.approx(1 / 3)
    assert found.exact_match == 0.5
    assert found.headline == "micro F1 0.6667"


def test_another_threshold_gives_other_sets_and_the_same_loss():
    found = measured(threshold=0.35)
    assert found.recall == (1, 1, 0)
    assert found.log_loss == measured().log_loss
    with pytest.raises(ValueError, match="threshold must be between 0 and 1, not 1"):
        MultiLabel(threshold=1)


def test_the_loss_is_that_of_every_label_by_itself():
    found = MultiLabel().measure(np.float32([[0.5, 0.25]]), np.array([[True, False]]), names=("a", "b"))
    assert found.log_loss == pytest.approx(-(log(0.5) + log(0.75)) / 2)


def test_figures_survive_json():
    found = measured()
    assert MultiLabel().restore(json.loads(json.dumps(found.as_json()))) == found


def test_answers_are_served_with_the_label_names_and_described_by_their_shares():
    task = MultiLabel(output="tags")
    assert (task.postprocessing(NAMES).output, task.postprocessing(NAMES).labels) == ("tags", NAMES)
    [tensor] = task.tensors({"tags": 3})
    assert (tensor.name, tensor.shape, tensor.minimum, tensor.maximum) == ("tags", (3,), 0, 1)
    described = task.statistics(ANSWERS, TRUTH, names=NAMES)
    assert described["label_shares"] == {"red": 0.75, "round": 0.25, "soft": 0.0}
    assert described["predicted_shares"] == {"red": 0.75, "round": 0.25, "soft": 0.25}
