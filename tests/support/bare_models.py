"""Model versions without model.json: a written version's graph alone, or any ONNX graph."""

import shutil

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def bare(models, written, *, name=None, version=1):
    """A directory NAME/VERSION with the graph of a written version alone."""
    directory = models / (name or written.parent.name) / str(version)
    directory.mkdir(parents=True)
    shutil.copy(written / "model.onnx", directory)
    return directory


def write_graph(models, name, nodes, inputs, outputs, weights=(), *, version=1, opset=17):
    """A bare version of any graph."""
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(values, key) for key, values in dict(weights).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    directory = models / name / str(version)
    directory.mkdir(parents=True)
    onnx.save(model, directory / "model.onnx")


def write_centred_model(models):
    """Subtracts the mean of all rows: its first dimension varies and is not a batch."""
    write_graph(
        models,
        "centred",
        [helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]), helper.make_node("Sub", ["x", "mean"], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", 2])],
        [("y", TensorProto.FLOAT, ["rows", 2])],
    )


def write_clock_with_step(models):
    """Nothing is a batch; the step has the default 10."""
    write_graph(
        models,
        "clock",
        [helper.make_node("Add", ["state", "step"], ["next"])],
        [("state", TensorProto.INT64, [2, "n"]), ("step", TensorProto.INT64, [])],
        [("next", TensorProto.INT64, [2, "n"])],
        {"step": np.array(10)},
    )


NAME = "names"


def write_names_model(models, name=NAME, sizes=("rows",)):
    """The strings as they are, and whether each is "yes"."""
    write_graph(
        models,
        name,
        [helper.make_node("Identity", ["text"], ["same"]), helper.make_node("Equal", ["text", "yes"], ["agrees"])],
        [("text", TensorProto.STRING, sizes)],
        [("same", TensorProto.STRING, sizes), ("agrees", TensorProto.BOOL, sizes)],
        {"yes": np.array(["yes"], object)},
        opset=19,
    )
