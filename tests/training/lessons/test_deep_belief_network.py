import numpy as np
import pytest

from training.lessons.deep_belief_network import Machine, Stack, draw, features, random_machine, share_right, through
from training.recipe.lesson import LessonContext


def test_features_that_were_learned_without_labels_need_fewer_labels(tmp_path, console):
    found = Stack(rows=400, units=(64, 32), epochs=8)(LessonContext(directory=tmp_path, console=console))
    assert found.missed == ()
    values = {figure.name: figure.value for figure in found.figures}
    assert values["20 labels: right with machines"] > 0.5
    [picture] = found.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_one_step_of_contrastive_divergence_by_hand():
    """Weights of 0: all probabilities are 1/2, whatever is drawn."""
    machine = Machine(weights=np.zeros((2, 1)), visible=np.zeros(2), hidden=np.zeros(1))
    step = machine.updated(np.array([[1.0, 0.0], [1.0, 0.5]]), 0.1, np.random.default_rng(0))
    assert step.weights[:, 0] == pytest.approx([0.1 * (0.5 - 0.25), 0.1 * (0.125 - 0.25)])
    assert step.visible == pytest.approx([0.1 * 0.5, 0.1 * -0.25])
    assert step.hidden == pytest.approx([0.0])


def test_a_machine_learns_to_give_its_patterns_back():
    patterns = np.repeat(np.eye(6)[[0, 3]], 10, axis=0)
    rng = np.random.default_rng(1)
    machine = random_machine(6, 4, rng)
    for _ in range(300):
        machine = machine.updated(patterns, 0.5, rng)
    assert np.abs(through((machine,), patterns) - patterns).max() < 0.1
    assert features((), patterns) is patterns


def test_the_softmax_layer_separates_what_differs_and_noise_replaces_its_share():
    x = np.repeat(np.eye(10), 3, axis=0)
    labels = np.repeat(np.arange(10), 3)
    assert share_right(x, labels, x, labels) == 1
    clean, kinds = draw(50, 3, noise=0.0)
    noisy, same = draw(50, 3, noise=0.4)
    assert (kinds == same).all()
    assert (clean != noisy).mean() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "rule"), [({"labelled": 9, "rows": 8}, "at most"), ({"units": ()}, "at least one")]
)
def test_settings_without_sense_are_refused(settings, rule):
    with pytest.raises(ValueError, match=rule):
        Stack(**settings)
