"""Figures of regression and of the next token, against ones worked out by hand."""

import json
from math import exp, log, sqrt

import numpy as np
import pytest

from app.contract.steps import NextToken
from training.measure.tasks import PredictNextToken, Regress


def test_the_deviation_of_numbers_is_that_of_all_rows_and_values():
    answers = np.float32([[1, 2], [3, 4], [5, 6]])
    truth = np.float32([[1, 0], [3, 5], [2, 6]])  # errors 0, 2, 0, -1, 3, 0
    found = Regress().measure(answers, truth, names=())
    assert (found.rows, found.mae, found.mse) == (3, 1.0, 14 / 6)
    assert found.rmse == pytest.approx(sqrt(14 / 6))
    assert found.headline == "RMSE 1.528"


def test_a_deviation_survives_json():
    found = Regress().measure(np.float32([[1.5]]), np.float32([[1]]), names=())
    assert Regress().restore(json.loads(json.dumps(found.as_json()))) == found


def test_numbers_are_served_as_they_are():
    assert Regress().postprocessing(()) is None
    [output] = Regress().tensors({"values": 3})
    assert (output.name, output.dtype, output.shape) == ("values", "float32", (3,))
    assert (output.minimum, output.maximum) == (None, None)


def test_answers_of_a_regression_are_described_by_mean_and_deviation():
    statistics = Regress().statistics(np.float32([[1, 10], [3, 10]]), np.zeros((2, 2)), names=())
    assert statistics == {"rows": 2, "mean": [2.0, 10.0], "standard_deviation": [1.0, 0.0]}


ANSWERS = np.float32(
    [
        [0.50, 0.20, 0.10, 0.08, 0.07, 0.05],  # the first came: most probable
        [0.50, 0.20, 0.10, 0.08, 0.07, 0.05],  # the fifth: among the five most probable
        [0.50, 0.20, 0.10, 0.08, 0.07, 0.05],  # the sixth: not among them
        [0.00, 0.20, 0.30, 0.20, 0.20, 0.10],  # the first, which was excluded
    ]
)
CAME = np.int32([0, 4, 5, 0])


def test_the_surprise_at_tokens_is_their_mean_log_loss_and_shares():
    found = PredictNextToken().measure(ANSWERS, CAME, names=())
    by_hand = -(log(0.5) + log(0.07) + log(0.05) + log(1e-7)) / 4  # an excluded class counts as 1e-7
    assert found.rows == 4
    assert found.log_loss == pytest.approx(by_hand, rel=1e-6)  # float32 probabilities
    assert found.perplexity == pytest.approx(exp(by_hand), rel=1e-5)
    assert (found.accuracy, found.top_5) == (0.25, 0.5)
    assert found.headline == f"perplexity {exp(by_hand):.2f}"


def test_an_even_choice_among_n_tokens_has_perplexity_n():
    found = PredictNextToken().measure(np.full((3, 8), 1 / 8, np.float32), np.int32([0, 3, 7]), names=())
    assert found.perplexity == pytest.approx(8)


def test_a_surprise_survives_json():
    found = PredictNextToken().measure(ANSWERS, CAME, names=())
    document = json.loads(json.dumps(found.as_json()))
    assert document["perplexity"] == found.perplexity
    assert PredictNextToken().restore(document) == found


def test_the_next_token_is_served_by_the_vocabulary_s_words():
    assert PredictNextToken().postprocessing(()) == NextToken(output="probabilities")
    [output] = PredictNextToken().tensors({"probabilities": 9})
    assert (output.shape, output.minimum, output.maximum) == ((9,), 0.0, 1.0)


def test_answers_of_a_language_model_are_described_by_their_confidence():
    statistics = PredictNextToken().statistics(ANSWERS, CAME, names=())
    assert statistics["rows"] == 4
    assert statistics["confidence"]["mean"] == pytest.approx((3 * 0.5 + 0.3) / 4)
    assert sum(statistics["confidence"]["histogram"]["shares"]) == pytest.approx(1)
