"""SavedModels as other tools write them, with TensorFlow or Keras and without anything of Atelier's."""

from pathlib import Path
from typing import Any

from training.environment import quiet_tensorflow


def tensorflow() -> Any:
    """TensorFlow, set up as the tests of training require it: the process may run these, too."""
    quiet_tensorflow()
    import tensorflow as tf

    return tf


def write_saved_model(directory: Path, functions) -> Path:
    """A SavedModel with one signature per function.

    Args:
        directory: of the SavedModel.
        functions: name of the signature -> (function, its keyword arguments as ``tf.TensorSpec``). Tensors that the
            function has as defaults are those of the signature.
    """
    tf = tensorflow()

    module = tf.Module()
    signatures = {name: _signature(tf, *each) for name, each in functions.items()}
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(directory), signatures=signatures)
    return directory


def _signature(tf, function, arguments):
    if not function.__defaults__:
        return tf.function(function).get_concrete_function(**arguments)
    specs = [tf.TensorSpec(each.shape, each.dtype, name) for name, each in arguments.items()]
    return tf.function(function, input_signature=specs)


def spec(shape, dtype="float32"):
    tf = tensorflow()

    return tf.TensorSpec(shape, tf.dtypes.as_dtype(dtype))


def write_line(directory: Path, *, slope=2.0, rows=None, signature="serving_default") -> Path:
    """y = slope * x - 1, for three numbers."""
    return write_saved_model(directory, {signature: (lambda x: {"y": slope * x - 1.0}, {"x": spec([rows, 3])})})


def write_brightness(directory: Path) -> Path:
    """The mean brightness, 0 to 1, of a PNG file of any size, which the graph decodes."""
    tf = tensorflow()

    def mean(data):
        return tf.reduce_mean(tf.cast(tf.io.decode_png(data, channels=1), tf.float32)) / 255.0

    def brightness(image_bytes):
        return {"brightness": tf.map_fn(mean, image_bytes, fn_output_signature=tf.float32)}

    return write_saved_model(directory, {"serving_default": (brightness, {"image_bytes": spec([None], "string")})})


def write_words(directory: Path) -> Path:
    """A text in capitals, and the number of its bytes."""
    tf = tensorflow()

    def words(text):
        return {"upper": tf.strings.upper(text), "length": tf.strings.length(text)}

    return write_saved_model(directory, {"serving_default": (words, {"text": spec([None], "string")})})


def write_several(directory: Path) -> Path:
    """Signatures of several kinds: double, bytes of a text, differences from the mean, defaults, bfloat16, no rank."""
    tf = tensorflow()

    three, moved = tf.constant(3.0), tf.constant([1.0, 2.0])

    def scaled(x, factor=three, shift=moved):
        return {"y": x * factor + shift}

    return write_saved_model(
        directory,
        {
            "serving_default": (lambda x: {"y": x * 2.0}, {"x": spec([None, 1])}),
            "count": (lambda text: {"count": tf.strings.length(text)}, {"text": spec([None], "string")}),
            "centre": (lambda x: {"y": x - tf.reduce_mean(x, 0)}, {"x": spec([None, 2])}),
            "brain": (lambda x: {"y": x}, {"x": spec([None, 256], "bfloat16")}),
            "scaled": (scaled, {"x": spec([None, 2]), "factor": spec([]), "shift": spec([2])}),
            "rankless": (lambda x: {"y": x}, {"x": spec(None)}),
        },
    )


def write_graphs_by_tags(directory: Path, graphs) -> Path:
    """A SavedModel of TensorFlow 1 with several graphs, y = slope * x for three numbers each.

    Args:
        directory: of the SavedModel.
        graphs: (tags, slope) of each graph.
    """
    v1 = tensorflow().compat.v1
    builder = v1.saved_model.Builder(str(directory))
    for index, (tags, slope) in enumerate(graphs):
        with v1.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder("float32", [None, 3], "x")
            y = slope * (v1.get_variable("one", initializer=1.0) * x)  # the graphs share their variables
            session.run(v1.global_variables_initializer())
            signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
            options = {"signature_def_map": {"serving_default": signature}}
            if index:
                builder.add_meta_graph(tags, **options)
            else:
                builder.add_meta_graph_and_variables(session, tags, **options)
    builder.save()
    return directory
