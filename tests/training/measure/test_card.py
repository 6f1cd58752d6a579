import numpy as np
import pytest

from training.measure.card import model_card
from training.measure.evaluate import evaluate
from training.measure.findings import between

EVALUATION = evaluate(
    np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], np.float32),
    np.array([0, 1, 1], np.int32),
    names=("dark", "<bright>"),
)


@pytest.fixture
def metrics():
    return {
        "test": EVALUATION.as_json(),
        "validation": EVALUATION.as_json(),
        "dataset": {"name": "tiny", "form": "drawn", "counts": {"train": 128, "validation": 3, "test": 3}},
        "target": {"test_accuracy": 0.6},
        "gate": "validation accuracy reaches the target",
        "forced": False,
        "parameters": 12_345,
        "epochs": 2,
        "kept_epoch": 2,
        "seconds": {"training": 61.4},
        "hardware": {"cpu": "A CPU", "cpu_count": 2},
        "date": "2026-01-01",
        "command": "python -m training run tiny",
        "overrides": ["fitting.epochs=2"],
        "findings": [between("f(10)", 18.98, 18.9, 19.1).as_json()],
        "warnings": ["the gradient vanishes"],
    }


def test_the_card_has_metrics_data_and_the_command_to_reproduce_it(metrics):
    card = model_card("tiny-images", "Dark or bright.", metrics)
    assert card.startswith("# tiny-images\n\nDark or bright.")
    assert "| Test accuracy | 0.6667 on 3 rows |" in card
    assert "| dark | 0.500 | 1.000 |" in card
    assert "python -m training run tiny-images --set fitting.epochs=2 --publish" in card


def test_without_a_test_the_card_states_that_it_was_not_tested(metrics):
    card = model_card("tiny-images", "Dark or bright.", metrics | {"test": None})
    assert "| Test part | not measured |" in card


def test_a_setting_of_several_values_is_quoted_for_the_shell_and_a_bar_for_the_table(metrics):
    metrics |= {"overrides": ["network.widths=(8, 8)"], "warnings": ["either | or"]}
    card = model_card("tiny-images", "Dark or bright.", metrics)
    assert "run tiny-images --set 'network.widths=(8, 8)' --publish" in card
    assert "| Warning | either \\| or |" in card
