"""What a run writes for TensorBoard, read by TensorBoard's own reader."""

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from tests.training.tiny import image_recipe, train


def logged(directory):
    """The reader of the logs of the training part."""
    reader = EventAccumulator(str(directory / "tensorboard/train"), size_guidance={"tensors": 0})
    reader.Reload()
    return reader


def test_the_option_adds_histograms_of_all_weights_and_the_graph_and_changes_no_weight(tmp_path, console):
    recipe = image_recipe(epochs=2)
    more = train(recipe, tmp_path / "more", console, tensorboard=True)
    same = train(recipe, tmp_path / "plain", console)
    full, plain = logged(tmp_path / "more"), logged(tmp_path / "plain")
    assert full.Tags()["graph"]
    assert not plain.Tags()["graph"]
    functions = full.Graph().library.function
    assert "MatMul" in {node.op for function in functions for node in function.node_def}
    added = set(full.Tags()["tensors"]) - set(plain.Tags()["tensors"]) - {"keras"}
    assert added == {"hidden/kernel_0/histogram", "hidden/bias_0/histogram", "probabilities/kernel_0/histogram"} | {
        "probabilities/bias_0/histogram"
    }
    events = full.Tensors("hidden/kernel_0/histogram")
    assert [event.step for event in events] == [0, 1]
    buckets = make_ndarray(events[-1].tensor_proto)  # (left edge, right edge, count) of each
    assert buckets[:, 2].sum() == 64 * 8
    assert "epoch_loss" in plain.Tags()["tensors"]
    for one, other in zip(more.model.get_weights(), same.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
