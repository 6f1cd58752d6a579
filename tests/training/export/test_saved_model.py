import numpy as np
import pytest

from tests.training.tiny_networks import LONGEST, TEXT_SPEC, TOKENIZER, masked_lstm
from training.export.model_export import export_saved_model, keras_runner, saved_model_runner


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")
    model = masked_lstm()
    export_saved_model(model, TEXT_SPEC, directory)
    return model, directory


def functions(directory):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((directory / "saved_model.pb").read_bytes())
    return [function.signature.name for graph in saved.meta_graphs for function in graph.graph_def.library.function]


def test_no_function_of_a_gradient_is_left(exported):
    names = functions(exported[1])
    assert not [name for name in names if "backward" in name or "_grad_" in name or name.startswith("__forward_")]


def test_the_lstm_s_variant_for_a_gpu_is_still_there(exported):
    assert [name for name in functions(exported[1]) if "gpu_lstm" in name]


def test_the_remaining_graph_gives_the_numbers_of_keras(exported):
    model, directory = exported
    ids = np.random.default_rng(0).integers(1, TOKENIZER.id_count, (5, LONGEST)).astype(np.int32)
    ids[2, 3:] = 0
    found = saved_model_runner(directory, TEXT_SPEC)({"token_ids": ids})["probabilities"]
    wanted = keras_runner(model, TEXT_SPEC)({"token_ids": ids})["probabilities"]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_it_can_be_saved_and_loaded_by_tensorflow_alone_and_its_variables_restored(exported):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(exported[1]))
    answer = loaded.signatures["serving_default"](token_ids=tf.constant([[2, 3, 4]]))["probabilities"]
    np.testing.assert_allclose(answer.numpy().sum(), 1, atol=1e-6)
