"""Graphs that ONNX Runtime does not load, or does not run."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from app.contract.derive import derive
from app.contract.version_files import Graph
from app.errors import BackendFailed, VersionRefused
from app.runtime.engines.onnx import OnnxBackend, read_facts
from app.runtime.memory import allocated_bytes
from tests.support.bare_models import write_graph


def graph_with_weights_in(file):
    weights = numpy_helper.from_array(np.ones(3, np.float32), "w")
    onnx.external_data_helper.set_external_data(weights, file, 0, 12)
    weights.ClearField("raw_data")
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", tensors[:1], tensors[1:], [weights])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


@pytest.mark.parametrize("copied", [False, True])
def test_a_message_names_the_original_place_of_missing_weights(tmp_path, copied):
    copy = tmp_path / "copy"
    copy.mkdir()
    source = graph_with_weights_in("none.bin")
    if copied:
        (copy / "model.onnx").write_bytes(source)
        source = copy / "model.onnx"
    origin = tmp_path / "m" / "1" / "model.onnx"
    with pytest.raises(VersionRefused) as refused:
        read_facts(Graph(origin, source))
    assert str(origin.parent / "none.bin") in refused.value.message
    assert "/dev/null" not in refused.value.message
    assert str(copy) not in refused.value.message


def test_a_failed_batch_writes_nothing_to_standard_error(tmp_path, capfd):
    """The log has one line for it; ONNX Runtime would write three more, of its own form, for each such request."""
    write_graph(
        tmp_path,
        "table",
        [helper.make_node("Gather", ["numbers", "x"], ["y"])],
        [("x", TensorProto.INT64, ["rows"])],
        [("y", TensorProto.FLOAT, ["rows"])],
        {"numbers": np.ones(3, np.float32)},
    )
    path = tmp_path / "table" / "1" / "model.onnx"
    spec, _ = derive("table", read_facts(Graph(path, path)))
    backend = OnnxBackend(path, spec, 1)
    with pytest.raises(BackendFailed, match="out of data bounds"):
        backend.run({"x": np.array([7])})
    backend.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("arena", [True, False])
def test_memory_of_a_large_batch_can_be_freed_and_answers_stay_the_same(tmp_path, arena):
    write_graph(
        tmp_path,
        "wide",  # 1 MB for each row
        [
            helper.make_node("Tile", ["x", "times"], ["wide"]),
            helper.make_node("Relu", ["wide"], ["positive"]),
            helper.make_node("ReduceMax", ["positive"], ["y"], axes=[1], keepdims=1),
        ],
        [("x", TensorProto.FLOAT, ["rows", 4])],
        [("y", TensorProto.FLOAT, ["rows", 1])],
        {"times": np.array([1, 65_536], np.int64)},
    )
    path = tmp_path / "wide" / "1" / "model.onnx"
    spec, _ = derive("wide", read_facts(Graph(path, path)))
    backend = OnnxBackend(path, spec, 1, arena=arena)
    x = np.arange(256, dtype=np.float32).reshape(64, 4)
    before = allocated_bytes()
    backend.run({"x": x[:1]})
    answer = backend.run({"x": x})["y"].copy()  # the array itself is in that memory
    kept = allocated_bytes() - before
    backend.free_spare({"x": x[:1]})
    spare = allocated_bytes() - before
    assert (kept > 50e6) is arena
    assert spare < 20e6
    np.testing.assert_array_equal(backend.run({"x": x})["y"], answer)
    np.testing.assert_array_equal(answer, x[:, 3:])
    backend.close()
