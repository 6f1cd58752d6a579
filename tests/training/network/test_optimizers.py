import numpy as np
import pytest

from training.network.losses import build_loss
from training.network.optimizers import OPTIMIZERS, ScheduledRate, build_optimizer
from training.recipe.fitting import Loss, Optimizer, Schedule


def rates(schedule: Schedule, steps: int = 100) -> np.ndarray:
    rate = ScheduledRate(schedule, peak=2.0, steps=steps)
    return np.array([float(rate(step)) for step in range(steps + 1)])


def test_a_constant_rate_is_constant_after_its_warm_up():
    values = rates(Schedule(name="constant", warmup=0.1))
    assert values[:3] == pytest.approx([0.2, 0.4, 0.6])
    assert values[10:] == pytest.approx(2.0)


def test_a_cosine_falls_from_the_peak_to_the_stated_fraction():
    values = rates(Schedule(name="cosine", final=0.1))
    assert values[0] == pytest.approx(2.0, abs=0.01)
    assert values[50] == pytest.approx(1.1, abs=0.05)
    assert values[-1] == pytest.approx(0.2, abs=1e-3)
    assert (np.diff(values) <= 1e-6).all()


def test_one_cycle_rises_from_a_25th_and_falls_to_zero():
    values = rates(Schedule(name="one-cycle", warmup=0.3))
    assert values[0] == pytest.approx(2 / 25, abs=0.02)
    assert values.argmax() in range(28, 32)
    assert values.max() == pytest.approx(2.0, abs=0.01)
    assert values[-1] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_walks_downhill(name):
    import tensorflow as tf

    optimizer = build_optimizer(
        Optimizer(name=name, learning_rate=0.05, clip_norm=1.0, weight_decay=0.01, schedule=Schedule(name="cosine")),
        steps=40,
    )
    place = tf.Variable([3.0, -2.0])
    for _ in range(40):
        with tf.GradientTape() as tape:
            height = tf.reduce_sum(place**2)
        optimizer.apply_gradients([(tape.gradient(height, place), place)])
    assert float(tf.reduce_sum(place**2)) < 13.0
    assert int(optimizer.iterations) == 40


def test_gradients_are_clipped_to_their_common_norm():
    import tensorflow as tf

    optimizer = build_optimizer(Optimizer(name="sgd", learning_rate=1.0, clip_norm=1.0), steps=1)
    one, other = tf.Variable(0.0), tf.Variable(0.0)
    optimizer.apply_gradients([(tf.constant(30.0), one), (tf.constant(40.0), other)])
    assert (float(one), float(other)) == pytest.approx((-0.6, -0.8))


def test_weight_decay_shrinks_weights_by_the_learning_rate_times_the_decay():
    import tensorflow as tf

    optimizer = build_optimizer(Optimizer(name="adamw", learning_rate=0.1, weight_decay=0.5), steps=10)
    weight = tf.Variable([4.0])
    optimizer.apply_gradients([(tf.constant([0.0]), weight)])
    assert float(weight[0]) == pytest.approx(4.0 * (1 - 0.1 * 0.5))


def test_label_smoothing_spreads_the_target_over_the_classes():
    loss = build_loss(Loss(label_smoothing=0.2))
    target, answer = np.array([[1.0, 0.0]], np.float32), np.array([[0.9, 0.1]], np.float32)
    assert float(loss(target, answer)) == pytest.approx(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)), rel=1e-5)
