"""Inputs that a graph has a default for: a request may leave them out, over every protocol."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import pytest
import tritonclient.http as triton_http
from onnx import TensorProto, helper

from tests.support.bare_models import write_clock_with_step, write_graph
from tests.support.commands import run
from tests.support.grpc_requests import refusal as grpc_refusal
from tests.support.grpc_requests import tensor
from tests.support.grpc_service import GrpcService
from tests.support.model_state import reason
from tests.support.service import running
from tests.support.tfs import TfsClient, refusal

ROWS = np.array([[1, 2], [3, 4.5], [-1, 0]], np.float32)
ALPHA, SHIFT = np.float32(0.1), np.array([10, 20], np.float32)


def write_line(models, name="line"):
    """y = alpha * x + shift, with defaults for alpha, one number, and for shift, one number for each column."""
    write_graph(
        models,
        name,
        [helper.make_node("Mul", ["x", "alpha"], ["scaled"]), helper.make_node("Add", ["scaled", "shift"], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", 2]), ("alpha", TensorProto.FLOAT, []), ("shift", TensorProto.FLOAT, [2])],
        [("y", TensorProto.FLOAT, ["rows", 2])],
        {"alpha": np.array(0.3, np.float32), "shift": np.array([0.7, -0.7], np.float32)},
    )


def write_config(models, name, *, batch, optional="alpha", stated=("x", "alpha")):
    """config.pbtxt of the model "line", with some of its inputs."""
    dims = {"x": "2" if batch else "-1, 2", "alpha": "1"}
    flags = {"x": "optional: true" if optional == "x" else "", "alpha": "optional: true" if optional == "alpha" else ""}
    inputs = "".join(
        f'input {{ name: "{each}" data_type: TYPE_FP32 dims: [{dims[each]}] {flags[each]} }}\n' for each in stated
    )
    output = f'output {{ name: "y" data_type: TYPE_FP32 dims: [{dims["x"]}] }}'
    (models / name / "config.pbtxt").write_text(f"max_batch_size: {batch}\n{inputs}{output}")


def write_power(models, name):
    """y = x ^ alpha; alpha is one number in a list."""
    write_graph(
        models,
        name,
        [helper.make_node("Pow", ["x", "alpha"], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", 2]), ("alpha", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, ["rows", 2])],
        {"alpha": np.array([2], np.float32)},
    )


def write_weighted(models):
    """A default for an input with a batch dimension, and none of it in a request has an effect on other rows."""
    write_graph(
        models,
        "weighted",
        [helper.make_node("Mul", ["x", "weight"], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", 2]), ("weight", TensorProto.FLOAT, ["rows", 1])],
        [("y", TensorProto.FLOAT, ["rows", 2])],
        {"weight": np.array([[3]], np.float32)},
    )


def write_listed_weights(models):
    """As some exporters write them, every weight is an input; there are more than a contract may have."""
    names = [f"w{index}" for index in range(70)]
    write_graph(
        models,
        "old",
        [helper.make_node("Sum", ["x", *names], ["y"])],
        [("x", TensorProto.FLOAT, ["rows", 2]), *((name, TensorProto.FLOAT, [2]) for name in names)],
        [("y", TensorProto.FLOAT, ["rows", 2])],
        {name: np.ones(2, np.float32) for name in names},
    )


def write_switched(models):
    """Subtracts the mean of all rows if the optional input is 1: only then rows influence one another."""
    write_graph(
        models,
        "switched",
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]),
            helper.make_node("Mul", ["mean", "switch"], ["part"]),
            helper.make_node("Sub", ["x", "part"], ["y"]),
        ],
        [("x", TensorProto.FLOAT, ["rows", 2]), ("switch", TensorProto.FLOAT, [])],
        [("y", TensorProto.FLOAT, ["rows", 2])],
        {"switch": np.array(0, np.float32)},
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    models = tmp_path_factory.mktemp("optional")
    write_line(models)
    write_clock_with_step(models)
    write_weighted(models)
    write_listed_weights(models)
    write_line(models, "padded")
    write_switched(models)
    for name in ("padded", "switched"):
        sizes = {"max_batch_size": 8, "allowed_batch_sizes": [4, 8]}
        (models / name / "serving.json").write_text(json.dumps({"batching": sizes}))
    for name in ("stated", "required", "left-out", "batched", "without-default"):
        write_power(models, name)
    write_config(models, "stated", batch=0)
    write_config(models, "required", batch=0, optional="none")
    write_config(models, "left-out", batch=8, stated=("x",))
    write_config(models, "batched", batch=8)
    write_config(models, "without-default", batch=0, optional="x")
    yield from running(GrpcService(models))


@pytest.fixture(scope="module")
def tfs(service):
    client = TfsClient(service.grpc_port)
    yield client
    client.close()


@pytest.fixture(scope="module")
def expected(service):
    """The answers of the runtime itself: from the inputs of the model "line" to its output."""
    session = ort.InferenceSession(str(service.models / "line" / "1" / "model.onnx"))
    return lambda **inputs: session.run(["y"], {name: np.asarray(each) for name, each in inputs.items()})[0]


GIVEN = {
    "none": {},
    "one": {"alpha": ALPHA},
    "the other": {"shift": SHIFT},
    "both": {"alpha": ALPHA, "shift": SHIFT},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_v1(service, expected, given):
    want = expected(x=ROWS, **given)
    optional = {name: values.tolist() for name, values in given.items()}
    columns = {"inputs": {"x": ROWS.tolist(), **optional}}
    assert same(service.client.post("/v1/models/line:predict", json=columns).json()["outputs"], want)
    rows = {"instances": [{"x": row.tolist(), **optional} for row in ROWS]}
    assert same(service.client.post("/v1/models/line:predict", json=rows).json()["predictions"], want)


def same(found, want):
    return np.array_equal(np.array(found, np.float32), want)


@pytest.mark.parametrize("body", [{"instances": ROWS.tolist()}, {"inputs": ROWS.tolist()}], ids=["rows", "columns"])
def test_the_only_required_input_needs_no_name_in_v1(service, expected, body):
    [answer] = service.client.post("/v1/models/line:predict", json=body).json().values()
    assert same(answer, expected(x=ROWS))


def test_the_only_required_input_may_be_the_body(service, expected):
    raw = {"Content-Type": "application/octet-stream"}
    reply = service.client.post("/v1/models/line:predict", content=ROWS.tobytes(), headers=raw)
    assert same(reply.json()["predictions"], expected(x=ROWS))
    headers = {**raw, "Inference-Header-Content-Length": "0"}
    reply = service.client.post("/v2/models/line/infer", content=ROWS[:1].tobytes(), headers=headers)
    assert np.frombuffer(reply.content[-8:], np.float32).tolist() == expected(x=ROWS[:1])[0].tolist()


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("is_binary", [True, False])
def test_v2(service, expected, given, is_binary):
    client = triton_http.InferenceServerClient(service.url.removeprefix("http://"))
    inputs = []
    for name, values in {"x": ROWS, **given}.items():
        inputs.append(triton_http.InferInput(name, list(np.shape(values)), "FP32"))
        inputs[-1].set_data_from_numpy(np.asarray(values), binary_data=is_binary)
    outputs = [triton_http.InferRequestedOutput("y", binary_data=is_binary)]
    for _ in range(2):  # the second one finds its head in the cache
        assert np.array_equal(client.infer("line", inputs, outputs=outputs).as_numpy("y"), expected(x=ROWS, **given))
    client.close()


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_grpc(service, tfs, expected, given):
    inputs = [tensor(name, np.asarray(values), "FP32") for name, values in {"x": ROWS, **given}.items()]
    assert np.array_equal(service.triton.infer("line", inputs).as_numpy("y"), expected(x=ROWS, **given))
    found = tfs.predict({"x": ROWS, **given}, "line").outputs["y"]
    assert same(found.float_val, expected(x=ROWS, **given).ravel())


def test_generate_takes_them_too(service, expected):
    body = {"x": ROWS[0].tolist(), "alpha": float(ALPHA)}
    found = service.client.post("/v2/models/line/generate", json=body).json()["y"]
    assert same(found, expected(x=ROWS[:1], alpha=ALPHA)[0])


def test_metadata_lists_them_and_the_config_marks_them(service):
    metadata = service.client.get("/v2/models/line").json()
    assert [(each["name"], each["shape"]) for each in metadata["inputs"]] == [
        ("x", [-1, 2]),
        ("alpha", []),
        ("shift", [2]),
    ]
    config = service.client.get("/v2/models/line/config").json()
    assert [each.get("optional", False) for each in config["input"]] == [False, True, True]
    config = service.triton.get_model_config("line").config
    assert [each.optional for each in config.input] == [False, True, True]
    signature = service.client.get("/v1/models/line/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert sorted(signature["serving_default"]["inputs"]) == ["alpha", "shift", "x"]


def test_requests_without_them_share_batches(service):
    assert reason(service, "line")[1].endswith("its batches agree with single instances")
    assert service.client.get("/v2/models/line/config").json()["max_batch_size"] > 1


def test_requests_with_other_values_do_not_share_a_batch(service, expected):
    alphas = [np.float32(value) for value in np.linspace(-2, 2, 24)]

    def ask(alpha):
        body = {"inputs": {"x": ROWS.tolist(), "alpha": float(alpha)}}
        return service.client.post("/v1/models/line:predict", json=body).json()["outputs"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, alphas))
    assert all(same(found, expected(x=ROWS, alpha=alpha)) for found, alpha in zip(answers, alphas, strict=True))


def test_a_request_with_one_is_not_split(service):
    largest = service.client.get("/v2/models/line/config").json()["max_batch_size"]
    body = {"inputs": {"x": [[1, 2]] * (largest + 1)}}
    assert service.client.post("/v1/models/line:predict", json=body).status_code == 200
    body["inputs"]["alpha"] = 1
    reply = service.client.post("/v1/models/line:predict", json=body)
    assert reply.status_code == 413
    assert reply.json()["error"] == (
        f"a request that gives the optional input 'alpha' runs as a whole: {largest + 1} instances; send at most "
        f"{largest}"
    )


@pytest.mark.parametrize("count", [1, 3, 4, 7, 8])
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_padded_batch_has_one_value_of_an_input_without_a_batch_dimension(service, expected, given, count):
    rows = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    inputs = {"x": rows.tolist(), **{name: values.tolist() for name, values in given.items()}}
    reply = service.client.post("/v1/models/padded:predict", json={"inputs": inputs})
    assert reply.status_code == 200, reply.text
    assert same(reply.json()["outputs"], expected(x=rows, **given))


def test_no_rows_are_added_to_a_request_with_one(service):
    """With rows up to the next allowed size the mean would be another one; a batch without such inputs gets them."""
    body = {"x": [[3, 0], [0, 6], [0, 0]]}
    assert service.client.post("/v1/models/switched:predict", json={"inputs": body}).json()["outputs"] == body["x"]
    assert service.metric("atelier_batch_padding_ratio_sum", model="switched") == 0.25
    reply = service.client.post("/v1/models/switched:predict", json={"inputs": {**body, "switch": 1}})
    assert reply.json()["outputs"] == [[2, -2], [-1, 4], [-1, -2]]
    assert service.metric("atelier_batch_padding_ratio_sum", model="switched") == 0.25


REFUSED = {
    "a missing input that is required": (
        {"inputs": {"alpha": 2}},
        "Missing named input: x in 'inputs' object; model 'line' takes 'x' (float32 of shape (2,)) and 'alpha' (one "
        "float32, optional) and 'shift' (float32 of shape (2,), optional)",
    ),
    "another shape": (
        {"inputs": {"x": [[1, 2]], "alpha": [2]}},
        "an instance of 'alpha' has shape (1,); expected one float32",
    ),
    "rows that differ": (
        {"instances": [{"x": [1, 2], "alpha": 2}, {"x": [1, 2], "alpha": 3}]},
        "instances.alpha differs from row to row; 'alpha' has no batch dimension: send one value for all rows",
    ),
    "only some of the rows": (
        {"instances": [{"x": [1, 2], "alpha": 2}, {"x": [1, 2]}]},
        "instances[1] has the keys ['x'], instances[0] has ['alpha', 'x']; all must have the same",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused(service, kind):
    body, error = REFUSED[kind]
    reply = service.client.post("/v1/models/line:predict", json=body)
    assert (reply.status_code, reply.json()["error"]) == (400, error)


def test_a_missing_required_input_is_refused_over_every_protocol(service, tfs):
    document = {"inputs": [{"name": "alpha", "datatype": "FP32", "shape": [], "data": [2]}]}
    reply = service.client.post("/v2/models/line/infer", json=document)
    missing = "input 'x' is missing; the signature's inputs are ['alpha', 'shift', 'x']"
    assert (reply.status_code, reply.json()["error"]) == (400, missing)
    assert grpc_refusal(service.triton.infer, "line", [tensor("alpha", np.array(2, np.float32), "FP32")]) == (
        "INVALID_ARGUMENT",
        missing,
    )
    code, error = refusal(tfs.predict, {"alpha": ALPHA}, "line")
    assert (code, error.endswith("Missing but required: {x}.")) == ("INVALID_ARGUMENT", True)
    reply = service.client.post("/v2/models/line/infer", json={"inputs": []})
    assert reply.json()["error"] == (
        "expected 1 to 3 inputs but got 0 inputs for model 'line'; it has 'x', 'alpha' (optional), 'shift' (optional)"
    )


def test_without_a_batch_dimension_they_are_part_of_the_whole_request(service):
    state = [[1, 2, 3], [4, 5, 6]]
    reply = service.client.post("/v1/models/clock:predict", json={"inputs": {"state": state}})
    assert reply.json() == {"outputs": [[11, 12, 13], [14, 15, 16]]}
    reply = service.client.post("/v1/models/clock:predict", json={"inputs": {"state": state, "step": 1}})
    assert reply.json() == {"outputs": [[2, 3, 4], [5, 6, 7]]}
    assert service.client.get("/v2/models/clock/config").json()["max_batch_size"] == 0


def test_an_optional_input_with_a_batch_dimension_has_a_value_for_each_row(service):
    ask = [{"inputs": {"x": ROWS.tolist()}}, {"inputs": {"x": ROWS.tolist(), "weight": [[1], [2], [3]]}}]
    answers = [service.client.post("/v1/models/weighted:predict", json=body).json()["outputs"] for body in ask]
    assert answers == [(ROWS * 3).tolist(), (ROWS * np.array([[1], [2], [3]])).tolist()]
    body = {"inputs": {"x": ROWS.tolist(), "weight": [[1], [2]]}}
    reply = service.client.post("/v1/models/weighted:predict", json=body)
    assert reply.json() == {"error": "inputs differ in their number of instances: {'x': 3, 'weight': 2}"}


def test_weights_that_are_listed_as_inputs_do_not_prevent_a_model_from_serving_in_batches(service):
    reply = service.client.post("/v1/models/old:predict", json={"instances": [[1, 2]]})
    assert reply.json() == {"predictions": [[71, 72]]}
    assert service.client.get("/v2/models/old/config").json()["max_batch_size"] > 1
    assert len(service.client.get("/v2/models/old").json()["inputs"]) == 1
    service.wait_for_log("model old: its 70 optional inputs are not offered: a model has at most 64 inputs")


def test_config_pbtxt_may_state_an_optional_input(service):
    """Triton marks it so; without the mark, a request must give it."""
    ask = [{"inputs": {"x": [[3, 4]]}}, {"inputs": {"x": [[3, 4]], "alpha": [3]}}]
    answers = [service.client.post("/v1/models/stated:predict", json=body).json() for body in ask]
    assert answers == [{"outputs": [[9, 16]]}, {"outputs": [[27, 64]]}]
    assert service.client.post("/v1/models/required:predict", json=ask[0]).status_code == 400
    assert service.client.post("/v1/models/required:predict", json=ask[1]).json() == {"outputs": [[27, 64]]}


def test_config_pbtxt_may_leave_it_out(service):
    """It then keeps its default, and instances share batches."""
    assert len(service.client.get("/v2/models/left-out").json()["inputs"]) == 1
    reply = service.client.post("/v1/models/left-out:predict", json={"instances": [[3, 4]]})
    assert reply.json() == {"predictions": [[9, 16]]}
    assert service.client.get("/v2/models/left-out/config").json()["max_batch_size"] == 8


def test_config_pbtxt_is_refused_if_the_graph_has_no_default(service):
    state, why = reason(service, "without-default")
    assert (state, "input 'x' is stated as optional; the graph has no default for it" in why) == ("UNAVAILABLE", True)
    state, why = reason(service, "batched")
    assert state == "UNAVAILABLE"
    assert "the first dimension of 'alpha' does not vary in the graph; state max_batch_size: 0" in why


def test_binary_tensors_keep_their_order(service, expected):
    """The bytes of the tensors follow in the order of the inputs in the request, whichever are given."""
    parts = {"shift": SHIFT, "x": ROWS}
    entries = [
        {
            "name": name,
            "datatype": "FP32",
            "shape": list(each.shape),
            "parameters": {"binary_data_size": each.nbytes},
        }
        for name, each in parts.items()
    ]
    head = json.dumps({"inputs": entries}).encode()
    body = head + b"".join(each.tobytes() for each in parts.values())
    headers = {"Inference-Header-Content-Length": str(len(head))}
    reply = service.client.post("/v2/models/line/infer", content=body, headers=headers)
    assert same(reply.json()["outputs"][0]["data"], expected(x=ROWS, shift=SHIFT).ravel())


@pytest.mark.parametrize("is_remote", [True, False])
def test_score_takes_the_required_inputs(service, expected, tmp_path, is_remote):
    np.savez(tmp_path / "rows.npz", x=ROWS)
    place = ("--url", service.url) if is_remote else ("--models-dir", service.models)
    done = run("score", "line", tmp_path / "rows.npz", "--output", tmp_path / "out.jsonl", *place)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["y"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert same(found, expected(x=ROWS))
