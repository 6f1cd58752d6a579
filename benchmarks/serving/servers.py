"""How each server is started, and why: with the settings that its own documentation gives for throughput."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.process import free_port
from benchmarks.serving.samples import Samples
from benchmarks.serving.triton import triton_command

PEERS = Path(__file__).parent / "peers"
REPOSITORY = Path(__file__).parents[2]
MLSERVER_BATCH_S = 0.005


@dataclass(frozen=True)
class Start:
    """A command and its environment."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """The place where a server is started.

    Attributes:
        kind: ``image`` or ``text``: the network of a peer. Each peer serves one network at a time, so that a second one
            takes no processor time.
        programs: bin directory of its environment.
        work: directory for its files.
        many_models: directory with twenty models in two versions each.
        triton: directory of an installed Triton, if one was given.
    """

    kind: str
    port: int
    programs: Path
    work: Path
    samples: Samples
    many_models: Path
    triton: Path | None = None


@dataclass(frozen=True)
class Server:
    """One server.

    Attributes:
        environment: its virtual environment; None: this project's own.
        start: how to start it.
        peer: whether it is a model server like Atelier.
        one_start: one start serves both kinds of input.
        beside_floor: it runs together with the floor, in turn.
        ready_path: returns 200 once all models are loaded; None if any answer shows that the model is loaded.
        settings: its configuration, for the results file.
    """

    name: str
    title: str
    environment: str | None
    start: Callable[[Place], Start]
    peer: bool
    one_start: bool
    settings: str
    beside_floor: bool = False
    ready_path: str | None = None


def _script(name: str) -> Callable[[Place], Start]:
    return lambda place: Start([str(place.programs / "python"), str(PEERS / name)], _peer_environment(place))


def _peer_environment(place: Place) -> dict[str, str]:
    variables = {"PYTHONPATH": str(PEERS), "PEER_PORT": str(place.port), "PYTHONDONTWRITEBYTECODE": "1"}
    if place.kind == "text":
        return variables | {
            "PEER_MODEL": str(place.samples.loop_model()),
            "PEER_VOCABULARY": str(place.samples.vocabulary),
        }
    return variables | {"PEER_MODEL": str(place.samples.image_model)}


def _bentoml(place: Place) -> Start:
    command = [str(place.programs / "bentoml"), "serve", "bentoml_server:Peer", "--working-dir", str(PEERS)]
    quiet = {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(place.work / "bentoml")}
    return Start([*command, "--host", "127.0.0.1", "--port", str(place.port)], _peer_environment(place) | quiet)


def _mlserver(place: Place) -> Start:
    folder = place.work / "mlserver"
    (folder / "peer").mkdir(parents=True, exist_ok=True)
    server = {
        "host": "127.0.0.1",
        "http_port": place.port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "metrics_dir": str(folder / "metrics"),
        "parallel_workers": 0,
        "debug": False,
    }
    model = {
        "name": "peer",
        "implementation": "mlserver_runtime.Peer",
        "max_batch_size": 32,
        "max_batch_time": MLSERVER_BATCH_S,
    }
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (folder / "peer" / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    return Start([str(place.programs / "mlserver"), "start", str(folder)], _peer_environment(place))


def _ray(place: Place) -> Start:
    variables = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_worker_niceness": "0",  # its workers would yield to every other process
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    start = _script("ray_server.py")(place)
    return Start(start.command, {**start.environment, **variables})


def _mosec(place: Place) -> Start:
    start = _script("mosec_server.py")(place)
    options = ["--address", "127.0.0.1", "--port", str(place.port), "--log-level", "warning"]
    return Start([*start.command, *options], start.environment)


def _triton(place: Place) -> Start:
    return Start(
        triton_command(place.triton, model=place.samples.image_model, work=place.work, port=place.port),
        {"LD_LIBRARY_PATH": str((place.triton or Path()) / "lib")},
    )


def _pytriton(place: Place) -> Start:
    home = place.work / "pytriton"
    shutil.rmtree(home, ignore_errors=True)  # each start leaves a copy of the server behind
    home.mkdir(parents=True)
    start = _script("pytriton_server.py")(place)
    return Start(start.command, {**start.environment, "PYTRITON_HOME": str(home)})


def _atelier(models_dir: Callable[[Place], Path]) -> Callable[[Place], Start]:
    command = [sys.executable, "-m", "app", "serve", "--log-level", "warning"]
    return lambda place: Start([*command, "--port", str(place.port), "--models-dir", str(models_dir(place))])


SERVERS = {
    server.name: server
    for server in (
        Server(
            "floor", "bare uvicorn ASGI, constant", None, _script("floor.py"), False, True, "uvloop, httptools", True
        ),
        Server(
            "bare",
            "nothing but uvloop, httptools and ONNX Runtime",
            None,
            _script("../../attempts/bare_server.py"),
            False,
            False,
            "nothing is checked, bounded or counted",
            True,
        ),
        Server(
            "floor-granian",
            "bare Granian ASGI, constant",
            "granian",
            _script("granian_floor.py"),
            False,
            True,
            "uvloop, HTTP/1, one worker, no logs",
        ),
        Server(
            "fastapi",
            "FastAPI, constant",
            "fastapi",
            _script("fastapi_constant.py"),
            False,
            True,
            "uvloop, httptools, access log off",
        ),
        Server(
            "fastapi-onnx",
            "FastAPI + pydantic + ONNX Runtime",
            "fastapi",
            _script("fastapi_onnx.py"),
            True,
            False,
            "uvloop, httptools, access log off; no batching",
        ),
        Server(
            "litserve",
            "LitServe",
            "litserve",
            _script("litserve_server.py"),
            True,
            False,
            "max_batch_size 32, batch_timeout 5 ms, fast_queue, one worker, one API server",
        ),
        Server(
            "bentoml",
            "BentoML",
            "bentoml",
            _bentoml,
            True,
            False,
            "adaptive batching: max_batch_size 32, max_latency_ms 1000; one worker, access log off",
        ),
        Server(
            "mlserver",
            "MLServer",
            "mlserver",
            _mlserver,
            True,
            False,
            "adaptive batching: max_batch_size 32, max_batch_time 5 ms; parallel_workers 0, debug off",
        ),
        Server(
            "ray",
            "Ray Serve",
            "ray",
            _ray,
            True,
            False,
            "HAProxy ingress, RAY_SERVE_THROUGHPUT_OPTIMIZED; serve.batch 32, 5 ms; one replica, access log off",
        ),
        Server(
            "mosec",
            "mosec",
            "mosec",
            _mosec,
            True,
            False,
            "max_batch_size 32, max_wait_time 5 ms, one worker",
        ),
        Server(
            "triton",
            "Triton",
            None,
            _triton,
            True,
            False,
            "ONNX Runtime backend, dynamic batcher without delay, max_batch_size 256, one thread each",
            ready_path="/v2/health/ready",
        ),
        Server(
            "pytriton",
            "Triton via PyTriton",
            "pytriton",
            _pytriton,
            True,
            False,
            "dynamic batcher, no delay, max_batch_size 256; Python callable, not Triton's own ONNX Runtime backend",
        ),
        Server(
            "atelier",
            "Atelier",
            None,
            _atelier(lambda place: place.samples.models),
            False,
            True,
            "as delivered",
            True,
            "/v2/health/ready",
        ),
        Server(
            "atelier-20x2",
            "Atelier, 20 models x 2 versions",
            None,
            _atelier(lambda place: place.many_models),
            False,
            True,
            "as delivered; copies of the image model",
            True,
            "/v2/health/ready",
        ),
    )
}
