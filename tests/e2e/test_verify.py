"""`python -m app verify`: golden samples for versions of other tools, in a state directory."""

import os

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.support.bare_models import bare, write_centred_model, write_clock_with_step, write_graph
from tests.support.forked import run_forked
from tests.support.model_state import reason
from tests.support.service import own_environment
from tests.support.tiny_models import write_brightness_model, write_rule_model

# The model of write_rule_model: 2 x - 1.
INPUTS = np.arange(5, dtype=np.float32)[:, None]
ANSWERS = 2 * INPUTS - 1


@pytest.fixture
def models(empty_models):
    return empty_models


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def verify(models, state, tmp_path):
    """Runs the command with arrays; returns its exit code and output."""

    def run(name, *options, **arrays):
        if arrays:
            np.savez(tmp_path / "samples.npz", **arrays)
            options = ("--samples", tmp_path / "samples.npz", *options)
        done = run_forked(
            ["verify", name, "--models-dir", models, *options],
            env={**own_environment(), "ATELIER_STATE_DIR": str(state)},
            timeout=120,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def serve(models, state, start):
    return lambda *options: start(models, *options, environment={"ATELIER_STATE_DIR": str(state)})


def files(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_a_verified_version_serves_where_verified_ones_are_required(source, models, state, verify, serve):
    bare(models, write_rule_model(source))
    before = files(models)
    code, said = verify("rule", x=INPUTS, values=ANSWERS)
    assert (code, "rule version 1 is verified: 5 samples agree, largest difference 0" in said) == (0, True), said
    assert files(models) == before
    service = serve("--require-verified")
    assert reason(service, "rule") == ("READY", "")
    assert service.metric("atelier_model_verified", model="rule") == 1
    assert service.client.post("/v1/models/rule:predict", json={"instances": [[2.5]]}).json() == {"predictions": [[4]]}


def test_other_files_are_not_verified(source, models, verify, serve):
    directory = bare(models, write_rule_model(source))
    assert verify("rule")[0] == 0
    (directory / "notes.txt").write_text("a file more")
    service = serve()
    assert "unverified" in reason(service, "rule")[1]


def test_without_samples_todays_answers_are_recorded(source, models, verify, serve):
    bare(models, write_rule_model(source))
    code, said = verify("rule")
    assert code == 0
    assert "its answers to 8 inputs are recorded" in said
    assert serve("--require-verified").metric("atelier_model_verified", model="rule") == 1


def test_without_samples_those_that_it_has_stay(source, models, state, verify):
    bare(models, write_rule_model(source))
    assert verify("rule", x=INPUTS, values=ANSWERS)[0] == 0
    [path] = (state / "verified" / "rule").iterdir()
    before = path.read_bytes()
    code, said = verify("rule")
    assert (code, "rule version 1 is verified: 5 samples agree" in said) == (0, True), said
    assert path.read_bytes() == before
    assert verify("rule", x=INPUTS[:2], values=ANSWERS[:2])[0] == 0
    assert path.read_bytes() != before


def test_samples_of_model_warmup_are_recorded(source, models, state, verify, serve):
    bare(models, write_rule_model(source))
    (models / "rule" / "config.pbtxt").write_text(
        """
        backend: "onnxruntime" max_batch_size: 8
        input { name: "x" data_type: TYPE_FP32 dims: 1 } output { name: "values" data_type: TYPE_FP32 dims: 1 }
        model_warmup { name: "zeros" batch_size: 3
                       inputs { key: "x" value { data_type: TYPE_FP32 dims: 1 zero_data: true } } }
        """
    )
    assert verify("rule")[0] == 0
    [path] = (state / "verified" / "rule").iterdir()
    assert not np.load(path)["input:x"].any()
    assert reason(serve(), "rule") == ("READY", "")


STATES = np.arange(12).reshape(2, 2, 3)
OPTIONAL = {
    "left out": ({"state": STATES}, STATES + 10),
    "left out of a single request": ({"state": STATES[0]}, STATES[0] + 10),
    "given for each": ({"state": STATES, "step": np.array([1, 2])}, STATES + np.array([1, 2])[:, None, None]),
    "given for all": ({"state": STATES, "step": np.array(3)}, STATES + 3),
    "given for a single request": ({"state": STATES[0], "step": np.array(3)}, STATES[0] + 3),
}


@pytest.mark.parametrize("kind", OPTIONAL)
def test_samples_of_whole_requests_may_leave_optional_inputs_out(models, verify, serve, kind):
    write_clock_with_step(models)
    inputs, answers = OPTIONAL[kind]
    code, said = verify("clock", **inputs, next=answers)
    assert (code, "samples agree, largest difference 0" in said) == (0, True), said
    code, said = verify("clock", **inputs, next=answers + 1)
    assert (code, "golden row 0" in said) == (2, True), said
    service = serve("--require-verified")
    assert reason(service, "clock") == ("READY", "")
    for body, found in (({"state": [[1], [2]]}, [[11], [12]]), ({"state": [[1], [2]], "step": 5}, [[6], [7]])):
        assert service.client.post("/v1/models/clock:predict", json={"inputs": body}).json() == {"outputs": found}


def test_as_many_values_of_an_optional_input_as_samples_are_required(models, verify):
    write_clock_with_step(models)
    code, said = verify("clock", state=STATES, step=np.array([1, 2, 3]))
    assert (code, "{'state': 2, 'step': 3} rows; as many of each are required" in said) == (2, True), said


def test_rows_that_influence_one_another_are_verified_as_whole_requests(models, verify, serve):
    write_centred_model(models)
    rows = np.array([[1, 2], [3, 5], [8, 13]], np.float32)
    code, said = verify("centred", x=rows, y=np.zeros_like(rows))
    assert (code, "3 samples agree" in said) == (0, True), said
    service = serve("--require-verified")
    reply = service.client.post("/v1/models/centred:predict", json={"inputs": [[1, 3], [10, 20]]})
    assert reply.json() == {"outputs": [[-4.5, -8.5], [4.5, 8.5]]}


def test_a_model_without_a_batch_dimension_takes_one_request_or_several(models, verify):
    write_graph(
        models,
        "sum",
        [helper.make_node("ReduceSum", ["x", "axis"], ["y"], keepdims=1)],
        [("x", TensorProto.FLOAT, [4])],
        [("y", TensorProto.FLOAT, [1])],
        {"axis": np.array([0], np.int64)},
    )
    assert verify("sum", x=np.ones(4, np.float32), y=np.array([4], np.float32))[0] == 0
    assert verify("sum", x=np.ones((2, 4), np.float32), y=np.full((2, 1), 4, np.float32))[0] == 0
    code, said = verify("sum", x=np.ones((2, 4), np.float32), y=np.array([[4], [5]], np.float32))
    assert (code, "golden row 1: output 'y' differs from the golden sample by 1, tolerance 0.0005" in said) == (2, True)


def test_strings_and_one_name_for_both_kinds(models, verify, serve):
    write_graph(
        models,
        "echo",
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.STRING, ["rows"])],
        [("y", TensorProto.STRING, ["rows"])],
    )
    texts = np.array(["a", "Zürich", ""])
    assert verify("echo", **{"input:x": texts, "output:y": texts})[0] == 0
    code, said = verify("echo", x=texts, y=np.array(["a", "Zurich", ""]))
    assert (code, "golden row 1: output 'y' differs from the golden sample by inf" in said) == (2, True)
    assert reason(serve(), "echo") == ("READY", "")


BAD = {
    "other answers": ({"x": INPUTS, "values": ANSWERS + 1}, "golden row 0: output 'values' differs from the golden"),
    "an unknown name": (
        {"x": INPUTS, "y": ANSWERS},
        "'y' is not a tensor of the model; the inputs are ['x'], the outputs",
    ),
    "no input": ({"values": ANSWERS}, "has no array 'x'"),
    "another shape": ({"x": INPUTS[:, 0]}, "'x' has shape (5,); expected rows of float32 of shape (1,)"),
    "another kind": ({"x": INPUTS > 1}, "'x' holds bool; expected float32 of shape (1,)"),
    "too large": ({"x": np.full((1, 1), 1e300)}, "'x' holds values that float32 cannot hold"),
    "other rows": ({"x": INPUTS, "values": ANSWERS[:3]}, "has {'x': 5, 'values': 3} rows; as many of each"),
    "no rows": ({"x": INPUTS[:0]}, "'x' has shape (0, 1); expected rows of float32"),
    "too many rows": (
        {"x": np.zeros((4097, 1), np.float32)},
        "has {'x': 4097} rows; as many of each are required, 1 to",
    ),
    "not a number": ({"x": INPUTS, "values": ANSWERS * np.nan}, "the expected output 'values' holds NaN or infinity"),
    "objects": ({"x": np.array([None])}, "member 'x.npy' holds object, and only numbers and strings"),
}


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_samples_that_do_not_match_write_no_file(source, models, state, verify, arrays, message):
    bare(models, write_rule_model(source))
    code, said = verify("rule", **arrays)
    assert code == 2
    assert message in said
    assert not state.exists()


def test_bad_arguments(source, models, state, tmp_path, verify):
    bare(models, write_rule_model(source))
    write_brightness_model(models)
    (tmp_path / "text.npz").write_text("not an archive")
    for arguments, message in (
        (("rule", "--samples", tmp_path / "none.npz"), "none.npz: No such file or directory"),
        (("rule", "--samples", tmp_path / "text.npz"), "text.npz: 14 bytes are not a zip archive"),
        (("rule", "--samples", "/dev/zero"), "/dev/zero is a device; it must be a regular file"),
        (("rule", "--tolerance", "0.5"), "the tolerance is 0.5; it must be above 0 and at most 0.01"),
        (("rule", "--tolerance", "nan"), "the tolerance is nan; it must be above 0"),
        (("rule", "--version", "3"), "Could not find version 3 of model rule; known versions: 1"),
        (("ruler",), "unknown model: 'ruler'"),
        (("brightness",), "has golden samples of its own, and they are replayed at every load"),
    ):
        code, said = verify(*arguments)
        assert (code, message in said) == (2, True), said
    assert not state.exists()


def test_a_state_directory_that_cannot_be_written(source, models, state, verify):
    bare(models, write_rule_model(source))
    state.write_text("a file")
    code, said = verify("rule")
    assert (code, f"{state}" in said) == (2, True), said
    assert state.read_text() == "a file"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "not a golden file"),
        (lambda path: path.write_bytes(b""), "not a golden file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is a FIFO; it must be a regular file"),
    ],
    ids=["shortened", "empty", "a FIFO"],
)
def test_damaged_samples_refuse_the_version_and_name_the_file(source, models, state, verify, serve, damage, message):
    bare(models, write_rule_model(source))
    write_brightness_model(models)
    assert verify("rule")[0] == 0
    [path] = (state / "verified" / "rule").iterdir()
    damage(path)
    service = serve()
    state_of_rule, why = reason(service, "rule")
    assert state_of_rule == "UNAVAILABLE"
    assert str(path) in why
    assert message in why


def test_a_running_service_reads_them_when_it_loads_the_model_again(source, models, verify, serve):
    bare(models, write_rule_model(source))
    service = serve()
    assert "unverified" in reason(service, "rule")[1]
    assert verify("rule", x=INPUTS, values=ANSWERS)[0] == 0
    assert service.client.post("/v2/repository/models/rule/load").status_code == 200
    assert reason(service, "rule") == ("READY", "")
