import numpy as np
import pytest

from training.recurrent_on_cpu import traced_for_gpus_too


def answers_and_operations(layer, steps):
    """What a graph of the layer answers, and the operations in it and in its functions."""
    import tensorflow as tf

    function = tf.function(layer, autograph=False).get_concrete_function(tf.TensorSpec((None, None, 3), tf.float32))
    graph = function.graph.as_graph_def()
    nodes = [node for each in (graph, *(known for known in graph.library.function)) for node in nodes_of(each)]
    return function(tf.constant(steps)).numpy(), {node.op for node in nodes}


def nodes_of(graph):
    return graph.node if hasattr(graph, "node") else graph.node_def


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_without_a_gpu_a_graph_has_no_part_for_one_and_answers_the_same_bits(kind):
    import tf_keras

    layer = getattr(tf_keras.layers, kind)(4)
    steps = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    alone, operations = answers_and_operations(layer, steps)
    assert not any("Cudnn" in operation for operation in operations)
    with traced_for_gpus_too():
        both, operations = answers_and_operations(layer, steps)
    assert any("Cudnn" in operation for operation in operations)
    np.testing.assert_array_equal(alone, both)
    assert not any("Cudnn" in operation for operation in answers_and_operations(layer, steps)[1])
