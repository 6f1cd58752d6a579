"""What the publisher of a version says of it, in words."""

import pytest

from app.contract.said import measured

MEASURED = [
    ({"test": {"accuracy": 0.9448}}, "accuracy 0.9448 on test data"),
    ({"test": {"accuracy": 0.2, "perplexity": 51.96}}, "perplexity 52.0 on test data"),
    ({"test": {"heads": {"a": {"rmse": 1.5}, "b": {"accuracy": 0.5}}}}, "a RMSE 1.5, b accuracy 0.5000 on test data"),
    ({"test": {"accuracy": 1}, "dataset": {"form": "synthetic"}}, "accuracy 1.0000 on test data (synthetic data)"),
    ({"imported": {}, "test": {}}, "nothing here; it was imported"),
    ({}, "- on test data"),
]


@pytest.mark.parametrize(("metrics", "words"), MEASURED)
def test_the_figure_that_matters_most_is_said(metrics, words):
    assert measured(metrics) == words


@pytest.mark.parametrize(
    "metrics",
    [
        [],
        {"test": 3},
        {"dataset": [1]},
        {"test": {"accuracy": "high"}},
        {"test": {"heads": 3}},
        {"test": {"rmse": {}}},
    ],
)
def test_metrics_of_another_form_break_a_rule(metrics):
    with pytest.raises((ValueError, TypeError)):
        measured(metrics)
