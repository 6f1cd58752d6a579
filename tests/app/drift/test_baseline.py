"""What is measured of a version: from baseline.json to the bins in which served rows are counted."""

import json

import numpy as np
import pytest

from app.contract.model_spec import ModelSpec
from app.contract.steps import Classification
from app.contract.strings import string_array
from app.contract.tensor_spec import TensorSpec
from app.drift.baseline import measures_of
from app.drift.bins import MOST_ELEMENTS, NumberBins
from tests.support.service import ROOT

QUANTILES = ("p1", "p5", "p25", "p50", "p75", "p95", "p99")


def spec(*inputs, outputs=None, postprocessing=None):
    return ModelSpec(
        name="m",
        inputs=inputs,
        outputs=outputs or (TensorSpec(name="values", dtype="float32", shape=(1,)),),
        postprocessing=postprocessing,
        opset=17,
        trained_on="nothing",
    )


def only(inputs, tensor, **predictions):
    (measure,) = measures_of(json.dumps({"inputs": inputs, "predictions": predictions}).encode(), spec(tensor))
    return measure


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        ("fashion-mnist-cnn/1", ["prediction", "confidence", "input", "brightness"]),
        ("cats-vs-dogs-cnn/2", ["prediction", "confidence", "input", "brightness"]),
        ("imdb-sentiment-lstm/2", ["prediction", "confidence", "length", "unknown_words"]),
        ("gym-schedule-rnn/1", ["prediction", "confidence", "length", "unknown_words"]),
        ("shakespeare-next-word-lstm/2", ["confidence", "unknown_words"]),
    ],
)
def test_published_versions_have_these_measures(model, kinds):
    directory = ROOT / "models" / model
    published = ModelSpec.parse(directory / "model.json", (directory / "model.json").read_bytes())
    found = measures_of((directory / "baseline.json").read_bytes(), published)
    assert [each.kind for each in found] == kinds
    for each in found:
        assert each.expected.shape == (each.bins.count,)
        assert each.expected.sum() == pytest.approx(1)
        assert each.expected_rows > 5000 - 1


def test_numbers_are_counted_as_numpy_does_and_those_outside_in_the_nearest_bin():
    entry = {"kind": "numbers", "rows": 4, "histogram": {"edges": [0, 1, 2], "shares": [0.25, 0.75]}, "missing": 0.5}
    measure = only({"x": entry}, TensorSpec(name="x", dtype="float32", shape=(), finite=False))
    assert measure.expected.tolist() == [0.125, 0.375, 0.5]
    rows = np.array([-5, 0.5, 1, 1.5, 2, 9, np.nan], np.float32)
    assert measure.counted(rows).tolist() == [2, 4, 1]


def test_categories_that_training_did_not_have_share_the_last_bin():
    entry = {"kind": "categories", "rows": 10, "shares": {"Zürich": 0.75, "": 0.25}}
    measure = only({"city": entry}, TensorSpec(name="city", dtype="string", shape=()))
    rows = string_array(["Zürich".encode(), b"", b"Bern", b"\xff"], (4,))
    assert measure.counted(rows).tolist() == [1, 1, 2]
    assert measure.expected.tolist() == [0.75, 0.25, 0]


def test_each_pixel_counts_as_its_share_of_the_image_also_if_only_some_are_looked_at():
    bins = NumberBins(np.array([100.0]))
    assert bins.counted(np.array([[0, 0, 0, 200]], np.uint8)).tolist() == [0.75, 0.25]
    large = np.tile(np.array([0, 0, 0, 200], np.uint8), (2, 4 * MOST_ELEMENTS))
    low, high = bins.counted(large)
    assert low + high == pytest.approx(2)
    assert low == pytest.approx(1.5, abs=0.1)


def test_texts_are_measured_by_their_length_without_padding_and_their_unknown_words():
    shares = dict(zip(QUANTILES, [0, 0, 0.1, 0.2, 0.3, 0.4, 0.5], strict=True))
    entry = {
        "kind": "text",
        "rows": 9,
        "histogram": {"edges": [1, 3, 9], "shares": [0.5, 0.5]},
        "unknown_share": shares,
    }
    data = json.dumps({"inputs": {"ids": entry}}).encode()
    length, unknown = measures_of(data, spec(TensorSpec(name="ids", dtype="int32", shape=(-1,))))
    rows = np.array([[5, 5, 0, 0], [1, 5, 5, 5], [1, 1, 1, 0]])
    assert (length.kind, length.counted(rows).tolist()) == ("length", [1, 2])
    # 0 is the value of two percentiles, so it is no bound; 0.25 is between the 50th and the 75th, 1 above the last.
    assert unknown.expected == pytest.approx([0.25, 0.25, 0.25, 0.2, 0.04, 0.01])
    assert unknown.counted(rows).tolist() == [1, 0, 1, 0, 0, 1]


def test_texts_without_unknown_words_in_training_have_a_bin_for_those_with_some():
    entry = {"kind": "text", "rows": 9, "unknown_share": {"mean": 0.0, **dict.fromkeys(QUANTILES, 0.0)}}
    measure = only({"ids": entry}, TensorSpec(name="ids", dtype="int32", shape=(-1,)))
    assert measure.expected == pytest.approx([0.99, 0.01])
    assert measure.counted(np.array([[5, 5], [5, 1], [5, 0]])).tolist() == [2, 1]


def test_a_mean_alone_is_compared_as_a_proportion_of_tokens():
    measure = only({"ids": {"kind": "text", "rows": 9, "unknown_share": {"mean": 0.25}}}, TensorSpec(
        name="ids", dtype="int32", shape=(-1,)
    ))  # fmt: skip
    assert measure.expected.tolist() == [0.75, 0.25]
    assert measure.counted(np.array([[5, 1], [5, 5]])).tolist() == [1.5, 0.5]


def test_one_number_per_instance_is_a_prediction():
    histogram = {"edges": [0, 1, 2], "shares": [0.5, 0.5]}
    measure = only({}, TensorSpec(name="x", dtype="float32", shape=()), rows=50, histogram=histogram)
    assert (measure.kind, measure.name, measure.is_output) == ("prediction", "values", True)
    assert measure.counted(np.array([[0.5], [1.5], [1.6]], np.float32)).tolist() == [1, 2]


def test_sets_of_labels_and_labels_of_another_version_are_left_out():
    outputs = (TensorSpec(name="p", dtype="float32", shape=(2,)),)
    two = spec(
        TensorSpec(name="x", dtype="float32", shape=()),
        outputs=outputs,
        postprocessing=Classification(output="p", labels=("a", "b")),
    )
    sets = {"predictions": {"rows": 5, "predicted_shares": {"a": 0.9, "b": 0.9}}}
    assert measures_of(json.dumps(sets).encode(), two) == ()
    confidence = {"histogram": {"edges": [0, 0.5, 1], "shares": [0.5, 0.5]}}
    other = {"predictions": {"rows": 5, "predicted_shares": {"a": 0.5, "c": 0.5}, "confidence": confidence}}
    assert [each.kind for each in measures_of(json.dumps(other).encode(), two)] == ["confidence"]


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"[]",
        b'{"inputs": {"x": {"kind": "numbers"}}}',
        b'{"inputs": {"x": {"kind": "numbers", "rows": 1, "histogram": {"edges": [0, 1], "shares": [0.5, 0.5]}}}}',
        b'{"inputs": {"x": {"kind": "numbers", "rows": 1, "histogram": {"edges": [0, 1], "shares": [0]}}}}',
        b'{"inputs": {"x": {"kind": "text", "rows": 1, "unknown_share": 0.5}}}',
    ],
)
def test_a_baseline_that_cannot_be_used_is_said_so_and_not_used(data, caplog):
    assert measures_of(data, spec(TensorSpec(name="x", dtype="float32", shape=()))) == ()
    assert "model m: its drift is not measured: baseline.json cannot be used" in caplog.text
