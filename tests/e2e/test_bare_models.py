"""A directory with only model.onnx in it serves, and is reported as not verified."""

import json
import re
import shutil

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.support.bare_models import bare, write_centred_model, write_graph
from tests.support.memory import resident_mb
from tests.support.model_state import reason
from tests.support.service import wait_until
from tests.support.tiny_models import write_brightness_model, write_rule_model


@pytest.fixture
def models(empty_models):
    return empty_models


def test_bare_and_verified_versions_serve_next_to_each_other(source, models, start):
    bare(models, write_rule_model(source))
    write_brightness_model(models)
    service = start(models)
    reply = service.client.post("/v1/models/rule:predict", json={"instances": [[1], [2.5]]})
    assert reply.json() == {"predictions": [[1], [4]]}
    assert reason(service, "brightness") == ("READY", "")
    assert reason(service, "rule") == (
        "READY",
        "unverified: it has no golden samples; its batches agree with single instances",
    )
    assert service.metric("atelier_model_verified", model="rule") == 0
    assert service.metric("atelier_model_verified", model="brightness") == 1
    assert 'atelier_golden_difference{model="rule"' not in service.client.get("/metrics").text
    service.wait_for_log("model rule version 1 ready on cpu", also="unverified: it has no golden samples")


def test_without_model_json_the_signature_comes_from_the_graph(source, models, start):
    bare(models, write_rule_model(source))
    service = start(models)
    metadata = service.client.get("/v2/models/rule").json()
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}]
    assert metadata["outputs"] == [{"name": "values", "datatype": "FP32", "shape": [-1, 1]}]
    assert service.client.get("/v2/models/rule/config").json()["max_batch_size"] > 1


def test_a_dynamic_dimension_takes_any_length(models, start):
    write_graph(
        models,
        "total",
        [helper.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=0)],
        [("x", TensorProto.INT64, ["batch", "length"])],
        [("y", TensorProto.INT64, ["batch"])],
        {"axis": np.array([1], np.int64)},
    )
    service = start(models)
    for length in (1, 5, 300):
        reply = service.client.post("/v1/models/total:predict", json={"instances": [[2] * length, [3] * length]})
        assert reply.json() == {"predictions": [2 * length, 3 * length]}


def test_if_rows_influence_each_other_each_request_runs_as_it_was_sent(models, start):
    write_centred_model(models)
    service = start(models)
    rows, answer = [[1, 3], [10, 20]], [[-4.5, -8.5], [4.5, 8.5]]
    assert service.client.post("/v1/models/centred:predict", json={"instances": rows}).json() == {"predictions": answer}
    assert service.client.post("/v1/models/centred:predict", json={"inputs": rows}).json() == {"outputs": answer}
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": rows}]}
    [output] = service.client.post("/v2/models/centred/infer", json=document).json()["outputs"]
    assert (output["shape"], output["data"]) == ([2, 2], [value for row in answer for value in row])
    state, why = reason(service, "centred")
    assert state == "READY"
    assert why.endswith(
        "each request runs as a whole: output 'y' in a batch differs from the answer to each instance alone"
    )
    config = service.client.get("/v2/models/centred/config").json()
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (0, [-1, 2])


def write_clock_model(models):
    """A state, a step that is one number, and outputs of different ranks: nothing is a batch."""
    write_graph(
        models,
        "clock",
        [
            helper.make_node("Add", ["state", "step"], ["next"]),
            helper.make_node("ReduceSum", ["next"], ["total"], keepdims=0),
        ],
        [("state", TensorProto.INT64, [2, "n"]), ("step", TensorProto.INT64, [])],
        [("next", TensorProto.INT64, [2, "n"]), ("total", TensorProto.INT64, [])],
    )


def test_tensors_without_a_batch_dimension_are_sent_and_answered_whole(models, start):
    write_clock_model(models)
    service = start(models)
    state = [[1, 2, 3], [4, 5, 6]]
    reply = service.client.post("/v1/models/clock:predict", json={"inputs": {"state": state, "step": 10}})
    assert reply.json() == {"outputs": {"next": [[11, 12, 13], [14, 15, 16]], "total": 81}}
    document = {
        "inputs": [
            {"name": "state", "datatype": "INT64", "shape": [2, 3], "data": state},
            {"name": "step", "datatype": "INT64", "shape": [], "data": [10]},
        ]
    }
    outputs = service.client.post("/v2/models/clock/infer", json=document).json()["outputs"]
    assert [(each["shape"], each["data"]) for each in outputs] == [([2, 3], [11, 12, 13, 14, 15, 16]), ([], [81])]
    metadata = service.client.get("/v2/models/clock").json()
    assert [each["shape"] for each in metadata["inputs"]] == [[2, -1], []]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"instances": [{"state": [1, 2], "step": 1}, {"state": [3, 4], "step": 1}]},
            "'instances' make a tensor 'step' of shape (2,); model 'clock' has no batch dimension and takes whole "
            "tensors, 'step' (one int64): send 'inputs' in place of 'instances'",
        ),
        (
            {"instances": [{"state": [[1, 2], [3, 4]], "step": 1}]},
            "'instances' make a tensor 'state' of shape (1, 2, 2); model 'clock' has no batch dimension and takes "
            "whole tensors, 'state' (int64 of shape (2, any)): send 'inputs' in place of 'instances'",
        ),
        ({"inputs": {"state": [[1, 2, 3]], "step": 1}}, "an instance of 'state' has shape (1, 3); expected int64"),
        ({"inputs": {"state": [[1], [2]], "step": [1]}}, "an instance of 'step' has shape (1,); expected one int64"),
    ],
)
def test_a_tensor_of_another_shape_is_refused(models, start, body, error):
    write_clock_model(models)
    reply = start(models).client.post("/v1/models/clock:predict", json=body)
    assert reply.status_code == 400
    assert error in reply.json()["error"]


def test_the_values_of_the_inputs_may_decide_the_size_of_an_answer_within_a_limit(models, start):
    write_graph(
        models,
        "count",
        [helper.make_node("Range", ["zero", "n", "one"], ["y"])],
        [("n", TensorProto.INT64, [])],
        [("y", TensorProto.INT64, ["k"])],
        {"zero": np.array(0), "one": np.array(1)},
    )
    service = start(models)
    predict = "/v1/models/count:predict"
    assert service.client.post(predict, json={"inputs": 3}).json() == {"outputs": [0, 1, 2]}
    reply = service.client.post(predict, json={"inputs": 2**24})
    assert (reply.status_code, reply.json()["error"]) == (
        413,
        f"the answer holds {2**27} bytes of numbers; at most {2**26} are sent",
    )
    assert service.client.post(predict, json={"inputs": 2}).json() == {"outputs": [0, 1]}


ARENA = {
    "serving.json": ("serving.json", '{"enable_cpu_mem_arena": false}'),
    "config.pbtxt": ("config.pbtxt", 'parameters { key: "enable_mem_arena" value { string_value: "0" } }'),
}


@pytest.mark.parametrize("kind", ["default", *ARENA])
def test_without_the_arena_memory_that_a_request_needs_is_returned(models, start, kind):
    """A Range of 400 MB that is summed: ONNX Runtime's arena keeps such a block as long as the version is loaded."""
    write_graph(
        models,
        "sum",
        [
            helper.make_node("Range", ["zero", "n", "one"], ["all"]),
            helper.make_node("ReduceSum", ["all", "axis"], ["y"], keepdims=0),
        ],
        [("n", TensorProto.INT64, [])],
        [("y", TensorProto.INT64, [])],
        {"zero": np.array(0), "one": np.array(1), "axis": np.array([0])},
    )
    if kind != "default":
        name, text = ARENA[kind]
        (models / "sum" / name).write_text(text)
    service = start(models)
    rest = resident_mb(service)
    count = 50_000_000
    reply = service.client.post("/v1/models/sum:predict", json={"inputs": count})
    assert reply.json() == {"outputs": count * (count - 1) // 2}
    if kind == "default":
        assert resident_mb(service) - rest > 350
    else:
        wait_until(lambda: resident_mb(service) - rest < 50)


def test_outputs_that_have_no_rows_in_common_cannot_be_answered_by_row(models, start):
    write_graph(
        models,
        "total",
        [
            helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
            helper.make_node("Identity", ["x"], ["same"]),
        ],
        [("x", TensorProto.FLOAT, ["n"])],
        [("total", TensorProto.FLOAT, []), ("same", TensorProto.FLOAT, ["n"])],
    )
    service = start(models)
    reply = service.client.post("/v1/models/total:predict", json={"instances": [1, 2]})
    assert reply.status_code == 400
    assert reply.json()["error"] == "the outputs differ in their first dimension: send 'inputs' in place of 'instances'"
    reply = service.client.post("/v1/models/total:predict", json={"inputs": [1, 2]})
    assert reply.json() == {"outputs": {"total": 3, "same": [1, 2]}}


def test_a_raw_body_is_the_whole_tensor(models, start):
    write_graph(
        models,
        "square",
        [helper.make_node("Mul", ["x", "x"], ["y"])],
        [("x", TensorProto.FLOAT, [4])],
        [("y", TensorProto.FLOAT, [4])],
    )
    service = start(models)
    body = np.array([1, 2, 3, 4], np.float32).tobytes()
    reply = service.client.post(
        "/v2/models/square/infer", content=body, headers={"Inference-Header-Content-Length": "0"}
    )
    assert np.frombuffer(reply.content[-16:], np.float32).tolist() == [1, 4, 9, 16]
    octets = {"Content-Type": "application/octet-stream"}
    reply = service.client.post("/v1/models/square:predict", content=body, headers=octets)
    assert reply.json() == {"predictions": [1, 4, 9, 16]}
    reply = service.client.post("/v1/models/square:predict", content=2 * body, headers=octets)
    assert reply.status_code == 400


def test_a_batch_size_that_the_graph_does_not_allow_is_refused(models, start):
    write_graph(
        models,
        "single",
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, [1, 2])],
        [("y", TensorProto.FLOAT, [1, 2])],
    )
    service = start(models)
    reply = service.client.post("/v1/models/single:predict", json={"instances": [[1, 3], [10, 20]]})
    assert reply.json() == {"predictions": [[1, 3], [10, 20]]}
    (models / "single" / "serving.json").write_text(json.dumps({"batching": {"max_batch_size": 8}}))
    reply = service.client.post("/v2/repository/models/single/load")
    assert reply.status_code == 400
    assert (
        "batching.max_batch_size is 8, and 'single' cannot batch: the graph fixes its first dimension at 1"
        in reply.json()["error"]
    )


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ([("x", TensorProto.FLOAT, ["batch", 2**30])], "input 'x' has the shape (1073741824,): "),
        ([("x", TensorProto.STRING, ["batch", 2**19])], "one instance of 'x' has 524288 strings; at most 262144"),
        ([("x", TensorProto.FLOAT, ["batch", *[1] * 1000])], "'x' has 1001 dimensions; at most 8 besides the batch"),
        ([("x", TensorProto.FLOAT8E4M3FN, ["batch"])], "input 'x' is a tensor(float8e4m3fn); tensors of bool, uint8"),
    ],
)
def test_a_graph_that_cannot_be_served_reports_the_reason_and_the_others_serve(source, models, start, inputs, error):
    bare(models, write_rule_model(source))
    [(_, element, shape)] = inputs
    write_graph(models, "odd", [helper.make_node("Identity", ["x"], ["y"])], inputs, [("y", element, shape)], opset=19)
    service = start(models)
    assert service.client.get("/v2/models/rule/ready").status_code == 200
    state, why = reason(service, "odd")
    assert state == "UNAVAILABLE"
    assert error in why


def test_a_file_that_is_not_a_graph_is_refused(models, start):
    directory = models / "broken" / "1"
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(b"not a graph")
    service = start(models, wait_ready=False)
    wait_until(lambda: "ONNX Runtime cannot load the graph" in service.log)


def test_a_new_version_is_followed_once_it_is_complete(source, models, start):
    written = write_rule_model(source)
    bare(models, written)
    service = start(models)
    directory = models / "rule" / "2"
    directory.mkdir()
    graph = (written / "model.onnx").read_bytes()
    (directory / "model.onnx").write_bytes(graph[:50])  # a copy that is not complete yet
    (directory / "model.onnx").write_bytes(graph)
    wait_until(lambda: service.client.get("/v2/models/rule/versions/2/ready").status_code == 200)
    wait_until(lambda: service.client.post("/v1/models/rule:predict", json={"instances": [[1]]}).status_code == 200)


def test_a_copy_in_progress_of_one_of_our_versions_is_not_served_as_a_bare_graph(source, models, start):
    write_brightness_model(models)
    written = write_brightness_model(source, version=2)
    directory = models / "brightness" / "2"
    directory.mkdir()
    for name in ("model.json", "model.onnx"):
        shutil.copy(written / name, directory)
    service = start(models)
    assert [each["version"] for each in service.client.post("/v2/repository/index").json()] == ["1"]


def test_versions_without_golden_samples_can_be_refused(source, models, start):
    written = write_rule_model(source)
    bare(models, written)
    bare(models, written, name="of two words")
    write_brightness_model(models)
    service = start(models, "--require-verified")
    state, why = reason(service, "rule")
    assert state == "UNAVAILABLE"
    assert why.endswith("golden samples, and `python -m app verify rule` gives it some")
    assert "`python -m app verify 'of two words'` gives it some" in reason(service, "of two words")[1]
    assert reason(service, "brightness") == ("READY", "")


def test_promotion_and_rollback_work_as_for_any_version(source, models, start):
    written = write_rule_model(source)
    bare(models, written)
    bare(models, written, version=2)
    service = start(models)
    assert service.client.post("/v2/repository/models/rule/promote", json={"version": 1}).status_code == 200
    assert service.client.post("/v2/models/rule/infer", json=infer([[1]])).json()["model_version"] == "1"
    assert service.client.post("/v2/repository/models/rule/rollback").status_code == 200
    assert service.client.post("/v2/models/rule/infer", json=infer([[1]])).json()["model_version"] == "2"


def infer(rows):
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(rows), 1], "data": rows}]}


def peak_mb(service):
    with open(f"/proc/{service.process.pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) / 1024


LARGE = {
    "eight inputs of 64 MiB": (
        [(f"x{at}", TensorProto.INT8, ["rows", 2**26]) for at in range(8)],
        "each request runs as a whole: no input can be generated: an instance has 536870912 bytes",
    ),
    "five inputs of 4 MiB": (
        [(f"x{at}", TensorProto.INT8, ["rows", 2**22]) for at in range(5)],
        "its batches agree with single instances",
    ),
    "eight dimensions that vary": (
        [("x", TensorProto.FLOAT, ["rows", *[f"size{at}" for at in range(8)]])],
        "its batches agree with single instances",
    ),
    "many strings": (
        [("x", TensorProto.STRING, ["rows", 2**16])],
        "its batches agree with single instances",
    ),
}


@pytest.mark.parametrize("kind", LARGE)
def test_generated_inputs_take_a_bounded_amount_of_memory(source, models, start, kind):
    """Eight rows of each input, drawn as 8-byte numbers, took 5 GB."""
    inputs, why = LARGE[kind]
    bare(models, write_rule_model(source))
    rest = peak_mb(start(models))
    nodes = [helper.make_node("Identity", [name], [f"y{at}"]) for at, (name, _, _) in enumerate(inputs)]
    outputs = [(f"y{at}", *each[1:]) for at, each in enumerate(inputs)]
    write_graph(models, "large", nodes, inputs, outputs)
    service = start(models)
    assert reason(service, "large")[0] == "READY"
    assert why in reason(service, "large")[1]
    assert peak_mb(service) - rest < 600
