"""Versions that are run by code of an installed package; the package is the example of the documents."""

import json
import signal

import numpy as np
import pytest
from onnx import TensorProto, helper
from typer.main import get_command

from app.cli import cli
from tests.support.bare_connection import Line
from tests.support.bare_models import write_graph, write_names_model
from tests.support.commands import run
from tests.support.memory import resident_mb
from tests.support.model_state import reason
from tests.support.plugins import code_of, install
from tests.support.service import Service, running, wait_until

BROKEN = {
    "raises": (
        "class Broken:\n    def __init__(self, directory, threads):\n        raise OSError('no weights')\n",
        "no weights",
    ),
    "no_model": ("def Broken(directory, threads):\n    return 1\n", "no_model:Broken returns no backend"),
    "ends": (
        "import os\n\ndef Broken(directory, threads):\n    os._exit(3)\n",
        "process ended while it loaded: exit code 3",
    ),
    "no_size": (
        "class Broken:\n    inputs = {'x': ('int64', [-1])}\n    outputs = {'y': ('int64', [None])}\n"
        "    def __init__(self, directory, threads):\n        pass\n",
        "'x' has the size -1; a size is a whole number from 1, or None if it varies",
    ),
    "brain": (
        "class Broken:\n    inputs = {'x': ('int64', [None])}\n    outputs = {'y': ('bfloat16', [None])}\n"
        "    def __init__(self, directory, threads):\n        pass\n",
        "output 'y' is a bfloat16, which NumPy does not have; state float32",
    ),
    "no_type": (
        "class Broken:\n    inputs = {'x': ('money', [None])}\n    outputs = {'y': ('float32', [None])}\n"
        "    def __init__(self, directory, threads):\n        pass\n    def run(self, inputs):\n        return {}\n",
        "input 'x' is a money; tensors of bool",
    ),
}
ODD = """
import os, sys, time
import numpy as np


class Odd:
    inputs = {"x": ("int64", [None])}
    outputs = {"y": ("int64", [None])}

    def __init__(self, directory, threads):
        pass

    def run(self, inputs):
        (x,) = inputs.values()
        if (x == -1).any():
            raise ValueError("minus one is not allowed")
        if (x == -2).any():
            os._exit(7)
        if (x == -3).any():
            time.sleep(600)
        if (x == -4).any():
            return {"z": x}
        if (x == -6).any():
            return {"y": np.array([object()] * len(x))}
        if (x == -7).any():
            return {"y": np.zeros(2**27, np.int64)}
        if (x == -8).any():
            print("." * 2**26, end="", file=sys.stderr, flush=True)
        if (x == -5).any():
            return {"y": x.astype("float32")}
        if (x == -9).any():
            raise ValueError(chr(0xDC80) + " is half a character")
        if (x == -10).any():
            sys.exit(3)
        if (x == -11).any() and os.fork() == 0:
            time.sleep(600)
        if (x == -11).any():
            os._exit(5)
        return {"y": x * 2}
"""


@pytest.fixture
def site(tmp_path):
    place = tmp_path / "site"
    place.mkdir()
    return place


@pytest.fixture
def models(empty_models):
    return empty_models


def write_version(models, name, backend, version=1):
    directory = models / name / str(version)
    directory.mkdir(parents=True)
    (directory / "backend.json").write_text(json.dumps({"backend": backend}))
    return directory


def write_best_label(models, name="labels"):
    scores = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
    write_graph(
        models,
        name,
        [helper.make_node("MatMul", ["x", "scores"], ["y"])],
        [("x", TensorProto.FLOAT, ["batch", 3])],
        [("y", TensorProto.FLOAT, ["batch", 3])],
        {"scores": scores},
    )
    directory = models / name / "1"
    (directory / "labels.txt").write_text("boot bag shirt\n")
    (directory / "backend.json").write_text('{"transform": "best-label"}')
    return directory


def install_best_label(site):
    install(site, group="atelier.transforms", best_label=("best-label", "BestLabel", code_of("best_label")))


def started(start, models, site, *flags, **options):
    return start(models, *flags, environment={"PYTHONPATH": str(site)}, **options)


def predict(service, name, instances):
    reply = service.client.post(f"/v1/models/{name}:predict", json={"instances": instances})
    return reply.json()["predictions"] if reply.is_success else (reply.status_code, reply.json()["error"])


def test_the_example_of_the_document_answers_over_every_protocol(start, models, site):
    write_best_label(models)
    install_best_label(site)
    service = started(start, models, site, "--plugins", "best-label")
    rows = [[0, 1, 0], [0.5, 0, 0], [1, 1, 1]]
    assert predict(service, "labels", rows) == [
        {"label": "bag", "score": 2.0},
        {"label": "boot", "score": 0.5},
        {"label": "shirt", "score": 3.0},
    ]
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [0, 1, 0]}]}
    outputs = service.client.post("/v2/models/labels/infer", json=body).json()["outputs"]
    assert [each["data"] for each in outputs] == [["bag"], [2.0]]
    config = service.client.get("/v2/models/labels/config").json()
    assert config["backend"] == "best-label"
    assert reason(service, "labels")[1].startswith("unverified")
    assert service.metric("atelier_model_memory_bytes", model="labels") > 15 * 2**20  # measured


def test_without_the_flag_the_version_is_refused_and_the_reason_names_the_flag(start, models, site):
    write_best_label(models)
    install_best_label(site)
    service = started(start, models, site, wait_ready=False)
    service.wait_for_log(
        "model labels version 1 refused",
        also="which is not switched on; --plugins best-label (or ATELIER_PLUGINS) does so",
    )


def test_a_backend_that_no_package_has_is_refused(start, models, site):
    write_version(models, "labels", "nobody")
    service = started(start, models, site, "--plugins", "nobody", wait_ready=False)
    service.wait_for_log("model labels version 1 refused", also="no installed packages have the entry point 'nobody'")


BROKEN_FILES = {
    "no-json": ("{", "Invalid JSON"),
    "empty": ("{}", "it has neither 'backend' nor 'transform'"),
    "both": ('{"backend": "odd", "transform": "odd"}', "it has both 'backend' and 'transform'"),
    "odd-name": ('{"backend": "a b"}', "backend: String should match pattern"),
    "more": ('{"backend": "odd", "more": 1}', "more: Extra inputs are not permitted"),
    "large": ("[" * 5000, "5000 bytes"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A service with a model for each way to be broken."""
    place = tmp_path_factory.mktemp("broken")
    site, models = place / "site", place / "models"
    site.mkdir()
    install(site, **{name: (name, "Broken", code) for name, (code, _) in BROKEN.items()})
    for name in BROKEN:
        write_version(models, name, name)
    for name, (text, _) in BROKEN_FILES.items():
        (write_version(models, name, "odd") / "backend.json").write_text(text)
    environment = {"PYTHONPATH": str(site)}
    yield from running(
        Service(models, "--plugins", ",".join([*BROKEN, "odd"]), wait_ready=False, environment=environment)
    )


@pytest.mark.parametrize("name", BROKEN)
def test_a_backend_that_cannot_load_refuses_the_version_with_its_reason(broken, name):
    broken.wait_for_log(f"model {name} version 1 refused", also=BROKEN[name][1])


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_backend_file_that_is_not_what_it_must_be_is_refused(broken, name):
    broken.wait_for_log(f"model {name} version 1 refused", also=BROKEN_FILES[name][1])


def test_settings_that_name_another_backend_are_refused(start, models, site):
    write_version(models, "odd", "odd")
    (models / "odd" / "serving.json").write_text('{"backend": "onnx"}')
    install(site, odd=("odd", "Odd", ODD))
    service = started(start, models, site, "--plugins", "odd", wait_ready=False)
    service.wait_for_log(
        "model odd version 1 refused", also="backend is 'onnx' in the settings, and 'odd' in backend.json"
    )


def test_a_batch_that_fails_reports_the_reason_and_the_next_one_is_answered(start, models, site):
    write_version(models, "odd", "odd")
    (models / "odd" / "serving.json").write_text('{"batching": {"max_execution_ms": 5000}}')
    install(site, odd=("odd", "Odd", ODD))
    service = started(start, models, site, "--plugins", "odd")
    assert predict(service, "odd", [1, 2]) == [2, 4]
    assert predict(service, "odd", [-1]) == (500, "odd: minus one is not allowed")
    assert predict(service, "odd", [-4]) == (500, "odd: output 'y' is missing; it returns ['z']")
    assert predict(service, "odd", [-5]) == (
        500,
        "odd: output 'y' is float32 of shape [1]; the signature states int64 of shape [None]",
    )
    assert predict(service, "odd", [-6])[0] == 500
    code, error = predict(service, "odd", [-7])
    assert (code, error[:80]) == (
        500,
        "the answer of the odd process has 1073741824 bytes; at most 536870912 are accept",
    )
    assert predict(service, "odd", [-9]) == (500, "odd: ? is half a character")
    assert predict(service, "odd", [-10]) == (500, "odd: 3")
    before = resident_mb(service)
    assert predict(service, "odd", [-8]) == [-16]
    assert resident_mb(service) - before < 30
    assert predict(service, "odd", [3]) == [6]
    assert predict(service, "odd", [-2])[0] == 500
    assert predict(service, "odd", [4]) == [8]
    code, error = predict(service, "odd", [-3])
    assert code >= 500
    assert "did not answer a batch" in error
    wait_until(lambda: predict(service, "odd", [5]) == [10])


def test_a_model_whose_process_keeps_ending_is_not_ready_and_says_when_to_try_again(start, models, site):
    for name in ("odd", "other"):
        write_version(models, name, "odd")
    install(site, odd=("odd", "Odd", ODD))
    service = started(start, models, site, "--plugins", "odd")
    client = service.client
    assert client.get("/v2/models/odd/ready").status_code == 200
    for _ in range(4):
        assert predict(service, "odd", [-2])[0] == 500
    reply = client.post("/v1/models/odd:predict", json={"instances": [5]})
    assert reply.status_code == 503
    assert "restarted 3 times within 60 s; the next attempt is in" in reply.json()["error"]
    assert 30 <= int(reply.headers["retry-after"]) <= 60
    assert client.get("/v2/models/odd/ready").status_code == 503
    assert client.get("/v1/models/odd").json()["ready"] is False
    assert client.get("/v2/models/other/ready").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    for _ in range(4):
        assert predict(service, "other", [-2])[0] == 500
    reply = client.get("/v2/health/ready")
    assert (reply.status_code, reply.json()["error"]) == (503, "no backend of any model can run a batch; see the log")
    service.wait_for_log("the odd process ended (exit code 7) and was restarted 3 times within 60 s")


def test_the_end_of_a_process_is_noticed_at_once_though_a_child_of_it_lives(start, models, site):
    write_version(models, "odd", "odd")
    install(site, odd=("odd", "Odd", ODD))
    service = started(start, models, site, "--plugins", "odd")
    ended = (500, "the odd process ended while it ran this batch: exit code 5")
    assert predict(service, "odd", [-11]) == ended
    assert predict(service, "odd", [3]) == [6]


STEPS = """
class Step:
    inputs = {"text": ("string", [None])}

    def __init__(self, directory):
        pass

    def before(self, inputs):
        import numpy as np

        lengths = [len(each) for each in inputs["text"]]
        if 0 in lengths:
            raise ValueError("an empty text")
        return {"x": np.array([[each, 0, 0] for each in lengths], np.float32)}


def Nothing(directory):
    return 1


class Loud:
    def __init__(self, directory):
        pass

    def before(self, inputs):
        import numpy as np

        return {"text": np.array([each.decode(errors="replace").upper() for each in inputs["text"]])}


class Plain:
    def __init__(self, directory):
        pass

    def after(self, outputs):
        return outputs


class Odd(Step):
    def before(self, inputs):
        if b"other name" in inputs["text"]:
            return {"z": inputs["text"]}
        return super().before(inputs)

    def after(self, outputs):
        import time

        lengths = outputs["y"][:, 0].tolist()
        if len("hang") in lengths:
            time.sleep(600)
        return {"y": outputs["y"][1:]} if len("no row") in lengths else outputs
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """A service with a graph for each transform, and a version without a graph."""
    place = tmp_path_factory.mktemp("steps")
    site, models = place / "site", place / "models"
    site.mkdir()
    names = ["Step", "Nothing", "Odd", "Loud", "Plain"]
    install(site, group="atelier.transforms", **{name.lower(): (name, name, STEPS) for name in names})
    for name in names:
        if name in ("Loud", "Plain"):
            write_names_model(models, name)
        else:
            write_best_label(models, name)
        (models / name / "1" / "backend.json").write_text(json.dumps({"transform": name}))
    (models / "Odd" / "serving.json").write_text('{"batching": {"max_execution_ms": 5000}}')
    write_graph(
        models,
        "brief",
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)],
        [("x", TensorProto.FLOAT, ["batch"])],
        [("y", TensorProto.BFLOAT16, ["batch"])],
    )
    for name in ("bare", "brief"):
        (models / name / "1").mkdir(parents=True, exist_ok=True)
        (models / name / "1" / "backend.json").write_text('{"transform": "Step"}')
    environment = {"PYTHONPATH": str(site)}
    service = Service(models, "--plugins", ",".join(names), wait_ready=False, environment=environment)
    yield from running(service)


def test_a_step_before_a_graph_states_other_inputs_and_keeps_the_outputs(steps):
    wait_until(lambda: predict(steps, "Step", ["abc"]) == [[3.0, 0.0, 0.0]])
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a", "bcde"]}]}
    outputs = steps.client.post("/v2/models/Step/infer", json=body).json()["outputs"]
    assert outputs == [{"name": "y", "datatype": "FP32", "shape": [2, 3], "data": [1, 0, 0, 4, 0, 0]}]
    assert predict(steps, "Step", [""]) == (500, "Step: an empty text")
    assert predict(steps, "Step", ["ab"]) == [[2.0, 0.0, 0.0]]


def test_strings_may_go_into_the_graph_as_texts_and_must_be_utf8_without_a_step_before_it(steps):
    other = {"b64": "/w=="}
    wait_until(lambda: predict(steps, "Loud", ["yes"]) == [{"same": "YES", "agrees": False}])
    assert predict(steps, "Loud", [other]) == [{"same": "\ufffd", "agrees": False}]
    wait_until(lambda: predict(steps, "Plain", ["yes"]) == [{"same": "yes", "agrees": True}])
    code, error = predict(steps, "Plain", ["yes", other])
    assert (code, error) == (400, "instance 1 of 'text': the string is not UTF-8: invalid start byte at byte 0")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Nothing", "it has neither the method 'before' nor 'after'"),
        ("bare", "a transform requires the graph model.onnx, which is not in the version"),
        ("brief", "y: NumPy has no bfloat16"),
    ],
)
def test_a_transform_that_cannot_run_refuses_the_version_with_its_reason(steps, name, reason):
    steps.wait_for_log(f"model {name} version 1 refused", also=reason)


def test_a_step_that_fails_fails_its_batch_and_the_next_one_is_answered(steps):
    wait_until(lambda: predict(steps, "Odd", ["abc"]) == [[3.0, 0.0, 0.0]])
    code, error = predict(steps, "Odd", ["other name"])
    assert code == 500
    assert "['x']" in error
    assert predict(steps, "Odd", ["no row"]) == (500, "output 'y' has shape [0, 3] for 1 instances")
    code, error = predict(steps, "Odd", ["hang"])
    assert code >= 500
    assert "did not answer a batch" in error
    wait_until(lambda: predict(steps, "Odd", ["abc"]) == [[3.0, 0.0, 0.0]])


BUSY = """
import os, re, subprocess, sys


class Busy:
    inputs = {"x": ("int64", [None])}
    outputs = {"y": ("int64", [None])}

    def __init__(self, directory, threads):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.pids = os.getpid(), child.pid

    def run(self, inputs):
        (x,) = inputs.values()
        if (x == -1).any():
            open(__file__ + ".began", "w").close()
            re.match(r"(a+)+$", "a" * 40 + "b")  # holds the interpreter's lock for years
        return {"y": x * 0 + self.pids[int(x[0]) % 2]}
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_holds_the_interpreters_lock_ends_with_the_service_as_do_its_children(
    start, models, site, number
):
    write_version(models, "busy", "busy")
    install(site, busy=("busy", "Busy", BUSY))
    service = started(start, models, site, "--plugins", "busy", "--shutdown-timeout-s", "1")
    pids = [predict(service, "busy", [0])[0], predict(service, "busy", [1])[0]]
    assert all(map(runs, pids))
    with Line(service.url) as line:
        body = b'{"instances": [-1]}'
        line.send(
            b"POST /v1/models/busy:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        wait_until((site / "busy.py.began").exists)
        assert service.stop(number) in {0, -number}
        wait_until(lambda: not any(map(runs, pids)))


def runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_new_version_is_followed(start, models, site):
    write_version(models, "odd", "odd")
    install(site, odd=("odd", "Odd", ODD))
    service = started(start, models, site, "--plugins", "odd")
    write_version(models, "odd", "odd", 2)
    wait_until(lambda: service.client.get("/v2/models/odd/versions/2/ready").status_code == 200)
    assert predict(service, "odd", [1]) == [2]


def test_commands_that_load_a_model_have_the_flag_of_serve(models, site, tmp_path):
    write_version(models, "odd", "odd")
    install(site, odd=("odd", "Odd", ODD))
    place = ("verify", "odd", "--models-dir", models)
    variables = {"PYTHONPATH": str(site), "ATELIER_STATE_DIR": str(tmp_path / "state")}
    done = run(*place, **variables)
    assert "--plugins odd (or ATELIER_PLUGINS) does so" in done.stderr
    done = run(*place, "--plugins", "odd", **variables)
    assert done.stdout.startswith("odd version 1 is verified: "), done.stderr
    commands = get_command(cli).commands
    having = {name for name, command in commands.items() if "plugins" in {each.name for each in command.params}}
    assert having == {"serve", "predict", "explain", "score", "verify", "autotune"}
