import numpy as np
import pytest

from training.measure.temperature import NoTemperature, best_temperature


def logits_and_labels(rows=20_000, *, activation="softmax", seed=0):
    """Logits whose probabilities are exactly those that the labels are drawn with."""
    generator = np.random.default_rng(seed)
    if activation == "sigmoid":  # two classes: the logits of the second are those of the first, negated
        first = generator.normal(0, 1.5, rows)
        labels = (generator.random(rows) > 1 / (1 + np.exp(-first))).astype(np.int32)
        return np.stack([first, -first], axis=1), labels
    logits = generator.normal(0, 1.5, (rows, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1).astype(np.int32)
    return logits, labels


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_the_temperature_that_logits_were_multiplied_by_is_found(activation, temperature):
    logits, labels = logits_and_labels(activation=activation)
    found = best_temperature(logits * temperature, labels, activation=activation)
    assert found == pytest.approx(temperature, rel=0.05)  # 20,000 rows; the deviation of the estimate is about 0.01


def test_no_temperature_nearby_has_a_smaller_loss():
    logits, labels = logits_and_labels(500)
    found = best_temperature(logits * 2, labels, activation="softmax")

    def loss(temperature):
        scaled = logits * 2 / temperature
        return (np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(labels)), labels]).mean()

    assert loss(found) < min(loss(found * 0.999), loss(found * 1.001))


def test_large_logits_do_not_overflow():
    logits, labels = logits_and_labels(2000)
    assert best_temperature((logits * 15 + 1e4).astype(np.float32), labels, activation="softmax") > 10


def refusal(logits, labels):
    with pytest.raises(NoTemperature) as refused:
        best_temperature(np.asarray(logits), np.asarray(labels), activation="softmax")
    return str(refused.value)


def test_without_rows_there_is_no_temperature():
    assert refusal(np.zeros((0, 2)), np.zeros(0, int)) == "there is no validation part"


def test_one_class_only_sets_no_temperature():
    assert refusal(np.ones((4, 2)), [1, 1, 1, 1]) == "the validation part has only one class"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_counted(value):
    logits, labels = logits_and_labels(10)
    logits[3:5, 1] = value
    assert refusal(logits, labels) == "the answers to 2 of 10 validation rows contain NaN or infinity"


def test_answers_that_are_all_right_set_no_lower_limit():
    assert "almost all validation rows are right, so they do not determine a temperature" in refusal(
        [[2, 0], [0, 2]], [0, 1]
    )


def test_answers_that_are_all_wrong_set_no_upper_limit():
    assert "the network has not learned, so the validation rows do not determine a temperature" in refusal(
        [[2, 0], [0, 2]], [1, 0]
    )
