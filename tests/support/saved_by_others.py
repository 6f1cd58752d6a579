"""Models of other tools, of a few weights: Keras 3, Keras 2, TensorFlow and ONNX."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 8


def save_models(folder):
    """Write one file or directory for each kind of model into ``folder``."""
    save_keras_and_tensorflow_models(folder)
    write_onnx(folder / "channels.onnx", shape=["n", 3, SIDE, SIDE])
    write_onnx(folder / "one.onnx", shape=[1, 3, SIDE, SIDE])


def save_keras_and_tensorflow_models(folder):
    import keras
    import tensorflow as tf
    import tf_keras

    keras.utils.set_random_seed(3)

    image = [
        keras.Input((SIDE, SIDE, 1), name="grey"),
        keras.layers.Conv2D(2, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(3, activation="softmax", name="scores"),
    ]
    keras.Sequential(image).save(folder / "image.keras")
    keras.Sequential(image).export(folder / "image", verbose=False)

    a, b = keras.Input((4,), name="first number"), keras.Input((2, 3), name="second")
    joined = keras.layers.Concatenate()([a, keras.layers.Flatten()(b)])
    outputs = {"mean": keras.layers.Dense(1)(joined), "kind": keras.layers.Dense(2, activation="softmax")(joined)}
    keras.Model({"first number": a, "second": b}, outputs).save(folder / "two.keras")

    words = keras.layers.TextVectorization(output_sequence_length=4, vocabulary=["good", "bad", "film"])
    texts = [keras.Input((1,), dtype="string", name="text"), words, keras.layers.Embedding(5, 3)]
    texts += [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2, activation="softmax", name="mood")]
    keras.Sequential(texts).save(folder / "strings.keras")
    keras.Sequential(texts).export(folder / "strings", verbose=False)

    old = tf_keras.Sequential(
        [tf_keras.layers.Input((4,)), tf_keras.layers.Dense(3, activation="softmax", name="dense")]
    )
    old.save(folder / "old.keras")
    old.save(folder / "old.h5")
    old.save_weights(folder / "weights.h5")
    for name, library in (("old-lstm", tf_keras), ("new-lstm", keras)):
        layers = library.layers
        library.Sequential(
            [
                layers.Input((None,), name="ids"),
                layers.Embedding(5, 4, mask_zero=True),
                layers.LSTM(3),
                layers.Dense(2, activation="softmax"),
            ]
        ).save(folder / f"{name}.keras")
    states = [keras.Input((6, 2)), keras.layers.Bidirectional(keras.layers.GRU(3)), keras.layers.Dense(2)]
    keras.Sequential(states).save(folder / "states.keras")
    keras.Sequential(image).save(folder / "image.h5")
    half = [
        keras.Input((32, 32, 3)),
        keras.layers.Conv2D(8, 3, dtype="mixed_float16"),
        keras.layers.GlobalMaxPooling2D(),
    ]
    keras.Sequential([*half, keras.layers.Dense(3)]).save(folder / "half.keras")
    unmasked = [keras.Input((None,)), keras.layers.Embedding(5, 4), keras.layers.GlobalAveragePooling1D()]
    keras.Sequential([*unmasked, keras.layers.Dense(2)]).save(folder / "unmasked.keras")
    memory = [keras.Input((None, 3), batch_size=1), keras.layers.GRU(2, stateful=True, name="memory")]
    keras.Sequential(memory).save(folder / "stateful.keras")
    code = [keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2, name="twice")]
    keras.Sequential(code).save(folder / "lambda.keras")
    keras.Sequential(code).save(folder / "lambda.h5")

    class Reading(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="path")])
        def read(self, path):
            return {"content": tf.map_fn(tf.io.read_file, path)}

    class Computing(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def double(self, x):
            return {"y": x * 2}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def centred(self, x):
            return {"y": x - tf.reduce_mean(x)}

    reading, computing = Reading(), Computing()
    tf.saved_model.save(reading, folder / "reads", signatures={"serving_default": reading.read})
    signatures = {"double": computing.double, "centred": computing.centred}
    tf.saved_model.save(computing, folder / "two-signatures", signatures=signatures)


def write_onnx(path, *, shape, external=False):
    """The mean of each colour, channels first, as scores of three classes."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Add", ["means", "bias"], ["moved"]),
        helper.make_node("Softmax", ["moved"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], 3])],
        [numpy_helper.from_array(np.array([0.1, 0.2, 0.3], np.float32), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external:
        onnx.save(model, path, save_as_external_data=True, size_threshold=0)
    else:
        onnx.save(model, path)
