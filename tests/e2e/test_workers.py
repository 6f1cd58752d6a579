"""``serve --workers 2``: clients see one service, whichever process answers."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest

from app.runtime.devices import cpu_threads
from tests.support.bare_connection import asked, last_replies
from tests.support.commands import run
from tests.support.service import ROOT, Service, own_environment, wait_until
from tests.support.tiny_inputs import PIXELS
from tests.support.tiny_models import flip_one_weight, write_brightness_model, write_slow_model, write_words_model
from tests.support.workers import CLIENTS, Load, Watch, Workers

BODY = {"instances": PIXELS.tolist()}
UNLOADED = "unloaded; POST /v2/repository/models/brightness/load loads it"
# A batch of white pictures never ends. A worker waits 3 s for another one.
HANGING = """
import time
from app.runtime.engines.onnx import OnnxBackend
from app.workers import hang
hang.REPLACE_AFTER_S = 3
run = OnnxBackend.run
def stuck(self, inputs):
    if inputs["pixels"].min() == 255:
        time.sleep(600)
    return run(self, inputs)
OnnxBackend.run = stuck
"""


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    write_brightness_model(directory)
    write_words_model(directory)
    return directory


@pytest.fixture
def start():
    """Starts services with two workers and checks that they exit with 0."""
    started = []

    def begin(models, *arguments, workers=2, **options):
        service = Service(models, "--workers", str(workers), *arguments, **options)
        started.append(Workers(service, workers))
        return started[-1]

    yield begin
    for each in started:
        each.close()
        runs = each.service.process.poll() is None
        code = each.service.stop()
        assert code == 0 or not runs, each.service.log


@pytest.fixture
def workers(start, models):
    return start(models)


def predict(client):
    return client.post("/v1/models/brightness:predict", json=BODY).status_code


def version(client):
    """The default version of the model."""
    inputs = [{"name": "pixels", "shape": [1, 4, 4], "datatype": "UINT8", "data": [0] * 16}]
    return client.post("/v2/models/brightness/infer", json={"inputs": inputs}).json()["model_version"]


def command(workers, model, name, **body):
    return workers.client.post(f"/v2/repository/models/{model}/{name}", json=body or None)


def is_gone(pid):
    """Whether no process with that id runs; a zombie does not run."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def serve(*arguments, **environment):
    return run("serve", *arguments, **environment)


# Answers and counts


def test_both_workers_answer_and_every_count_is_their_sum(workers):
    assert len(set(workers.pids().values()) | {workers.service.process.pid}) == 3
    answers = workers.ask_all(predict)
    assert set(answers) == {200}
    asked = len(answers)
    for _ in range(10):  # whichever worker answers
        assert workers.metric("atelier_requests_total", model="brightness", code="200") == asked
        assert workers.metric("atelier_request_seconds_count", model="brightness") == asked
        assert sum(workers.answered().values()) == asked
        stats = workers.client.get("/v2/models/brightness/stats").json()["model_stats"][0]
        assert stats["inference_count"] == asked * len(PIXELS)
        assert stats["inference_stats"]["success"]["count"] == asked
        assert sum(each["compute_infer"]["count"] for each in stats["batch_stats"]) == stats["execution_count"]
    assert workers.metric("atelier_workers") == 2
    assert workers.metric("atelier_worker_restarts_total") == 0
    assert workers.metric("atelier_model_state", model="brightness", version="1", state="READY") == 1
    assert workers.metric("atelier_model_loads_total", model="brightness", result="ready") == 2
    assert workers.metric("atelier_queued_rows", model="brightness") == 0
    assert workers.metric("process_resident_memory_bytes") > 2 * 40e6
    assert workers.metric("process_start_time_seconds") <= time.time()


@pytest.mark.parametrize("number", [1, 2, 6])
def test_workers_share_the_threads_of_the_machine_and_each_has_one_at_least(
    start, models, tmp_path, monkeypatch, number
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(5)))
    threads = {1: cpu_threads(), 2: max(1, cpu_threads() // 2), 6: 1}[number]  # 5, 2, 1 where no quota is lower
    (tmp_path / "sitecustomize.py").write_text("import os\nos.sched_getaffinity = lambda pid: set(range(5))\n")
    workers = start(models, workers=number, environment={"PYTHONPATH": str(tmp_path)})
    seen = {workers.client.get("/v2/devices").json()["devices"][0]["threads"] for _ in range(20)}
    assert seen == {threads}
    assert set(workers.ask_all(predict, most=1)) == {200}


def test_connections_that_stay_open_are_spread_over_the_workers(workers):
    with ExitStack() as stack:
        for _ in range(32):
            client = stack.enter_context(httpx.Client(base_url=workers.service.url, timeout=30))
            assert predict(client) == 200
    assert sum(workers.answered().values()) == 32
    assert min(workers.answered().values()) >= 4


def test_the_environment_names_workers_too(start, models):
    workers = start(models, workers=1, environment={"ATELIER_WORKERS": "2"})
    assert workers.pids() == {}  # the flag wins
    service = Service(models, environment={"ATELIER_WORKERS": "2"})
    service.wait_for_log("worker 2: ready: 2 of 2 models serve")
    assert service.stop() == 0


def test_log_lines_of_workers_name_the_worker(start, models):
    workers = start(models, "--log-format", "json")
    workers.service.stop()
    lines = [json.loads(line) for line in workers.service.lines]
    assert {line.get("worker") for line in lines} == {None, 1, 2}


@pytest.mark.parametrize("number", ["0", "1025", "two"])
def test_a_number_of_workers_out_of_range_is_refused(models, number):
    done = serve("--models-dir", models, ATELIER_WORKERS=number)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: workers is '{number}': ")


# Commands


def test_a_command_to_one_worker_is_executed_by_all(workers, models):
    write_brightness_model(models, version=2, bias=50.0)
    assert command(workers, "brightness", "load").status_code == 200
    assert set(workers.ask_all(version)) == {"2"}
    assert command(workers, "brightness", "unload").status_code == 200
    for _ in range(20):
        reply = workers.client.post("/v1/models/brightness:predict", json=BODY)
        assert (reply.status_code, UNLOADED in reply.json()["error"]) == (503, True)
    assert command(workers, "brightness", "load").status_code == 200
    assert set(workers.ask_all(version)) == {"2"}
    reply = command(workers, "brightness", "promote", version=1)
    assert (reply.status_code, reply.json()) == (200, {"name": "brightness", "version": 1, "before": 2})
    assert set(workers.ask_all(version)) == {"1"}
    reply = command(workers, "brightness", "rollback")
    assert (reply.status_code, reply.json()) == (200, {"name": "brightness", "version": 2, "before": 1})
    assert set(workers.ask_all(version)) == {"2"}
    assert json.loads((models / "brightness" / "serving.json").read_text())["version_labels"] == {"stable": 2}


@pytest.mark.parametrize(
    ("model", "name", "body", "code", "error"),
    [
        ("words", "promote", {"version": 3}, 404, "Could not find version 3 of model words; known versions: 1"),
        ("nope", "load", {}, 404, "Request for unknown model: 'nope' is not found; models: brightness, words"),
        ("nope", "unload", {}, 404, "Request for unknown model: 'nope' is not found; models: brightness, words"),
        ("nope", "rollback", {}, 404, "Request for unknown model: 'nope' is not found; models: brightness, words"),
        (
            "brightness",
            "rollback",
            {},
            404,
            "cannot roll back model 'brightness': no version was the default before version 1, and none is older",
        ),
        ("brightness", "promote", {"version": "1"}, 400, '\'version\' is "1"; send a number, as in {"version": 2}'),
    ],
)
def test_refused_commands_get_the_same_error_as_from_a_single_process(workers, model, name, body, code, error):
    reply = command(workers, model, name, **body)
    assert (reply.status_code, reply.json()) == (code, {"error": error})


def test_a_version_that_does_not_load_is_not_promoted(workers, models):
    flip_one_weight(write_brightness_model(models, version=2), "weights")
    reply = command(workers, "brightness", "promote", version=2)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("model 'brightness' version 2 does not become stable: golden row ")
    assert not (models / "brightness" / "serving.json").exists()
    assert set(workers.ask_all(version)) == {"1"}


def test_an_error_of_all_workers_is_logged_once(workers, models):
    damaged = write_brightness_model(models, version=2)
    (damaged / "notes.txt").write_text("x")
    assert command(workers, "brightness", "load").status_code == 400
    assert "notes.txt is on disk but not in the manifest" in command(workers, "brightness", "load").json()["error"]
    serving = models / "brightness" / "serving.json"
    serving.write_text("{")
    assert "serving.json" in command(workers, "brightness", "load").json()["error"]
    serving.unlink()
    assert set(workers.ask_all(version)) == {"1"}


def test_many_parallel_promotions_leave_a_complete_file_and_correct_answers(start, models):
    for number in (2, 3):
        write_brightness_model(models, version=number, bias=50.0 * number)
    (models / "brightness" / "serving.json").write_text('{"version_policy": {"all": true}}')
    workers = start(models)
    expected = list(itertools.islice(itertools.cycle([1, 2, 3, 2]), 24))
    with ThreadPoolExecutor(CLIENTS) as pool:
        replies = list(pool.map(lambda number: command(workers, "brightness", "promote", version=number), expected))
    assert {reply.status_code for reply in replies} == {200}
    done = [reply.json() for reply in replies]
    document = json.loads((models / "brightness" / "serving.json").read_text())
    last = document["version_labels"]["stable"]
    # In sequence: each started from the version of another one, the first one from version 3.
    steps = Counter(each["version"] for each in done)
    steps.subtract(each["before"] for each in done)
    steps.subtract([last])
    steps.update([3])
    assert set(steps.values()) == {0}, done
    assert document["version_policy"] == {"all": True}
    assert set(workers.ask_all(version)) == {str(last)}
    hidden = [path.name for path in (models / "brightness").iterdir() if path.name.startswith(".")]
    assert hidden == [".serving.last-good.json"]


def test_a_published_version_serves_in_all_workers(workers, models):
    staged = write_brightness_model(models / ".staging", version=2, bias=50.0)
    staged.rename(models / "brightness" / "2")
    wait_until(lambda: workers.metric("atelier_model_loads_total", model="brightness", result="ready") == 4)
    wait_until(lambda: workers.metric("atelier_model_state", version="1", state="READY", model="brightness") == 0)
    assert set(workers.ask_all(version)) == {"2"}


# Canary


def test_a_canary_is_compared_and_halted_in_all_workers(start, models):
    write_brightness_model(models, version=2, bias=120.0)
    settings = {
        "version_labels": {"stable": 1, "canary": 2},
        "rollout": {"shadow": {"percent": 100}, "rollback": {"max_disagreement": 1.0}},
    }
    path = models / "brightness" / "serving.json"
    path.write_text(json.dumps(settings))
    workers = start(models)

    def shadow():
        return workers.client.get("/v2/models/brightness/shadow").json()

    asked = len(workers.ask_all(predict))
    wait_until(lambda: shadow()["copies"]["count"] == asked)
    seen = [shadow() for _ in range(10)]
    assert all(each == seen[0] for each in seen)
    assert seen[0]["instances"]["compared"] == asked * len(PIXELS)
    assert workers.metric("atelier_shadow_copies_total", result="ran") == asked
    count = "atelier_shadow_score_distance_count"
    assert workers.metric(count) == seen[0]["instances"]["compared"]
    time.sleep(1.5)  # for both workers to have reported
    workers.wait_for_another(1, workers.kill(1))
    assert workers.metric(count) == seen[0]["instances"]["compared"]
    assert seen[0]["state"] == "running"
    settings["rollout"]["rollback"] = {"max_disagreement": 0.0, "min_requests": 1}
    path.write_text(json.dumps(settings))

    def halted():
        workers.ask_all(predict, most=1)
        return all(shadow()["state"] == "halted" for _ in range(20))

    wait_until(halted)
    assert "max_disagreement 0 allows" in json.loads(path.read_text())["rollout"]["halted"]
    assert workers.metric("atelier_canary_halted", model="brightness", version="2") == 1


def test_limits_apply_to_the_sum_of_the_counts_of_all_workers(start, models):
    write_brightness_model(models, version=2, bias=500.0)  # everything is dark
    rollback = {"max_disagreement": 0.2, "min_requests": 40}
    settings = {"version_labels": {"stable": 1, "canary": 2}, "rollout": {"shadow": {}, "rollback": rollback}}
    path = models / "brightness" / "serving.json"
    path.write_text(json.dumps(settings))
    workers = start(models)
    bright = {"instances": [[[255] * 4] * 4]}
    with ThreadPoolExecutor(CLIENTS) as pool:  # in parallel, so that both workers get some
        replies = list(pool.map(lambda _: workers.client.post("/v1/models/brightness:predict", json=bright), range(40)))
    assert {reply.status_code for reply in replies} == {200}
    assert max(workers.answered().values()) < 40  # neither has seen enough of them alone
    wait_until(lambda: "halted" in json.loads(path.read_text())["rollout"])
    assert json.loads(path.read_text())["rollout"]["halted"] == (
        "40 of 40 instances were answered otherwise than by stable, more than max_disagreement 0.2 allows"
    )
    workers.service.wait_for_log("model brightness: the canary is halted: 40 of 40 instances")
    wait_until(lambda: workers.metric("atelier_canary_halted", model="brightness", version="2") == 1)


def test_a_canary_is_halted_although_that_cannot_be_written_down(start, models):
    write_brightness_model(models, version=2, bias=500.0)
    rollback = {"max_disagreement": 0.2, "min_requests": 4}
    settings = {"version_labels": {"stable": 1, "canary": 2}, "rollout": {"shadow": {}, "rollback": rollback}}
    path = models / "brightness" / "serving.json"
    path.write_text(json.dumps(settings))
    workers = start(models)
    path.write_text("{")
    wait_until(lambda: workers.metric("atelier_serving_json_broken", model="brightness") == 1)
    for _ in range(40):
        workers.client.post("/v1/models/brightness:predict", json={"instances": [[[255] * 4] * 4]}).raise_for_status()
    wait_until(lambda: "the halt cannot be written, and a restart starts the canary again" in workers.service.log)

    def states():
        return {workers.client.get("/v2/models/brightness/shadow").json()["state"] for _ in range(20)}

    wait_until(lambda: states() == {"halted"})
    assert path.read_text() == "{"


# gRPC


def test_grpc_reaches_all_workers_and_commands_apply_to_rest_too(start, models):
    grpc = pytest.importorskip("grpc")
    from tritonclient.grpc import InferenceServerClient

    workers = start(models, "--grpc-port", "0")
    port = int(workers.service.log.split("gRPC listens on 127.0.0.1:")[1].split("\n")[0])

    def is_ready(_):
        # A separate channel: gRPC would put all of them on one connection.
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with suppress(grpc.RpcError):  # a model without a name; it is counted nevertheless
                ask(b"", timeout=30)

    workers.ask_all(is_ready)
    client = InferenceServerClient(f"127.0.0.1:{port}")
    client.unload_model("brightness")
    for _ in range(20):
        assert workers.client.post("/v1/models/brightness:predict", json=BODY).status_code == 503
    client.load_model("brightness")
    asked = len(workers.ask_all(predict))
    counted = client.get_inference_statistics("brightness").model_stats[0].inference_stats.success.count
    client.close()
    assert counted == asked
    refused = serve("--models-dir", models, "--port", 0, "--workers", 2, "--grpc-port", port)
    assert refused.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port} for gRPC; choose another port with --grpc-port" in refused.stderr


# Workers that end


def test_a_killed_worker_loses_its_requests_in_progress_and_is_replaced(workers):
    with Load(workers.service, BODY) as load, Watch(workers) as watch:
        for number in (1, 2, 1):
            old = workers.kill(number)
            workers.wait_for_another(number, old)
            after, scrapes = len(load.codes), watch.scrapes
            wait_until(lambda: len(load.codes) > after + 50 and watch.scrapes > scrapes + 2)  # noqa: B023
    assert set(load.codes) == {200}
    assert load.lost <= 3 * CLIENTS
    assert watch.fallen == []
    assert workers.metric("atelier_worker_restarts_total") == 3
    assert workers.metric("atelier_workers") == 2
    # Counts of the last second of a worker may be lost with it, but the difference is not larger.
    assert 0 < workers.metric("atelier_requests_total", model="brightness", code="200") <= len(load.codes) + load.lost
    assert workers.service.log.count("was ended by SIGKILL; another one starts") == 3
    assert set(workers.ask_all(predict)) == {200}


def test_an_unloaded_model_stays_unloaded_in_a_new_worker(workers):
    assert command(workers, "brightness", "unload").status_code == 200
    for number in (1, 2):
        workers.wait_for_another(number, workers.kill(number))
    for _ in range(20):
        reply = workers.client.post("/v1/models/brightness:predict", json=BODY)
        assert (reply.status_code, UNLOADED in reply.json()["error"]) == (503, True)
        index = workers.client.post("/v2/repository/index").json()
        assert {"name": "brightness", "version": "1", "state": "UNAVAILABLE", "reason": UNLOADED} in index
    assert command(workers, "brightness", "load").status_code == 200
    assert set(workers.ask_all(predict)) == {200}


def test_a_command_while_a_worker_starts_applies_to_it_too(workers, models):
    old = workers.kill(1)
    assert command(workers, "brightness", "unload").status_code == 200
    workers.wait_for_another(1, old)
    for _ in range(20):
        assert predict(workers.client) == 503


def test_workers_that_never_start_end_the_service_with_their_code(models, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'app.workers.process' in sys.orig_argv:\n    os._exit(7)\n"
    )
    done = serve("--models-dir", models, "--port", 0, "--workers", 2, PYTHONPATH=str(tmp_path))
    assert done.returncode == 7
    assert "ended with exit code 7; no worker could load its models" in done.stderr
    assert "running on http" not in done.stderr


@pytest.fixture
def hanging(start, models, tmp_path):
    """Two workers in which batches of white pictures never end, with a short hang limit."""
    (models / "brightness" / "serving.json").write_text('{"instances": 2, "batching": {"max_execution_ms": 200}}')
    shutil.rmtree(models / "words")
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    return start(models, environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})


def hang(client):
    """Send requests until every instance of the worker that this client is connected to hangs."""
    white = {"instances": [[[255] * 4] * 4]}
    wait_until(lambda: client.post("/v1/models/brightness:predict", json=white).status_code == 503)


def test_a_worker_whose_instances_all_hang_gets_no_connection_and_is_replaced(hanging):
    before = hanging.pids()
    with httpx.Client(base_url=hanging.service.url, timeout=30) as client:
        hang(client)
        assert predict(client) == 503
    for _ in range(20):
        assert predict(hanging.client) == 200
    assert hanging.pids() == before
    assert hanging.metric("atelier_hung_batches_total", model="brightness") == 2
    wait_until(lambda: hanging.pids() != before)
    hanging.service.wait_for_log("the backends of all models have hung for 3 s; another worker takes over")
    assert set(hanging.ask_all(predict)) == {200}
    assert hanging.metric("atelier_worker_restarts_total") == 1
    assert hanging.metric("atelier_hung_batches_total", model="brightness") == 2


def test_workers_that_all_hang_are_not_ended_and_report_it(hanging):
    with ExitStack() as stack, ThreadPoolExecutor(CLIENTS) as pool:
        clients = [stack.enter_context(httpx.Client(base_url=hanging.service.url, timeout=30)) for _ in range(CLIENTS)]
        list(pool.map(hang, clients))
    time.sleep(4)
    for _ in range(10):
        assert predict(hanging.client) == 503
    assert hanging.metric("atelier_worker_restarts_total") == 0


def test_workers_end_when_their_supervisor_is_killed(workers):
    pids = workers.pids().values()
    workers.service.process.kill()
    wait_until(lambda: all(map(is_gone, pids)))
    assert workers.service.process.wait(30) == -signal.SIGKILL


# The end


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_all_workers_finish(workers, sig):
    pids = workers.pids().values()
    body = json.dumps(BODY).encode()
    path = "/v1/models/brightness:predict"
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    host, port = workers.service.url.removeprefix("http://").split(":")
    connections = [socket.create_connection((host, int(port)), timeout=30) for _ in range(16)]
    for each in connections:  # accepted by a worker, as its answer shows; then half of another request
        each.sendall(head + body)
        assert each.recv(4096).startswith(b"HTTP/1.1 200")
        each.sendall(head + body[:10])
    time.sleep(0.5)  # for the halves to arrive
    workers.service.process.send_signal(sig)
    wait_until(lambda: "2 workers finish what they have begun" in workers.service.log)
    time.sleep(0.3)
    for each in connections:
        each.sendall(body[10:])
        assert each.recv(4096).startswith(b"HTTP/1.1 200")
        each.close()
    assert workers.service.process.wait(30) == 0
    assert all(map(is_gone, pids))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))


def test_not_ready_precedes_not_listening_and_a_second_interrupt_ends_immediately(start, models):
    workers = start(models, "--drain-delay-s", "600")
    pids = workers.pids().values()
    workers.service.process.send_signal(signal.SIGINT)
    wait_until(lambda: workers.client.get("/v2/health/ready").status_code == 503)
    assert predict(workers.client) == 200
    workers.service.process.send_signal(signal.SIGINT)
    assert workers.service.process.wait(30) == 0
    assert all(map(is_gone, pids))


def test_work_that_outlasts_the_shutdown_time_is_answered_503(tmp_path, start):
    write_slow_model(tmp_path, multiplications=80)
    (tmp_path / "slow" / "serving.json").write_text('{"instances": 2}')  # never on the event loop
    workers = start(tmp_path, "--shutdown-timeout-s", "1")
    lines = asked(workers.service, "/v1/models/slow:predict", {"instances": [1]}, times=10)
    wait_until(lambda: workers.metric("atelier_queued_rows", model="slow") == 6)  # each worker runs two
    assert workers.service.stop() == 0
    codes = {code for code, _ in last_replies(lines)}
    assert codes <= {200, 503}
    assert 503 in codes


def test_a_signal_before_any_worker_serves_ends_the_service(models):
    environment = {**own_environment(), "ATELIER_MODELS_DIR": str(models)}
    with subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0", "--workers", "2"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "worker 1: Started server process" in line)
        process.terminate()
        rest = process.stderr.read()
    assert process.returncode == 0, line + rest


# Refusals


def test_a_missing_models_directory_is_reported_as_without_workers(tmp_path):
    one, two = (serve("--models-dir", tmp_path / "nope", "--workers", number) for number in (1, 2))
    assert (one.returncode, one.stderr) == (two.returncode, two.stderr)
    assert two.returncode == 2
    assert "does not exist" in two.stderr


def test_a_taken_port_is_reported_as_without_workers(models):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one, two = (serve("--models-dir", models, "--port", port, "--workers", number) for number in (1, 2))
    error = f"error: cannot listen on 127.0.0.1:{port}: address already in use; choose another port with --port"
    for done in (one, two):
        assert (done.returncode, done.stderr) == (2, f"{error} (make serve PORT=9000)\n")


def test_an_address_of_another_machine_is_reported_in_one_sentence(models):
    done = serve("--models-dir", models, "--host", "192.0.2.1", "--port", "0")  # RFC 5737
    assert done.returncode == 2
    assert "error: cannot listen on 192.0.2.1:0: " in done.stderr
    assert done.stderr.endswith("; choose an address of this machine with --host\n")
