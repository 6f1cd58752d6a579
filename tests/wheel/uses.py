"""What must work with the wheel; each function is one check, and its first line says what it checks."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import tritonclient.grpc as triton

from app.cli import cli
from tests.support.plugins import install
from tests.support.service import ROOT
from tests.wheel.installed import Installed

MODEL, SHAPE = "fashion-mnist-mlp", (1, 28, 28)
REQUESTS = 40
NAMED = """
import app


class Named:
    inputs = {"x": ("int64", [None])}
    outputs = {"y": ("string", [None])}

    def __init__(self, directory, threads):
        pass

    def run(self, inputs):
        return {"y": [app.NAME for _ in inputs["x"]]}
"""


def names_stay_the_users(installed: Installed) -> None:
    """`import app` and `import training` give the user's modules"""
    printed = installed.run("python", "-c", "import app, training; print(app.NAME, training.NAME)")
    assert printed == "app training\n", printed


def all_modules_import(installed: Installed) -> None:
    """All modules of the service are in the wheel and import"""
    code = """
import importlib, pkgutil, atelier_serving.app as whole
names = [each.name for each in pkgutil.walk_packages(whole.__path__, whole.__name__ + ".")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    modules = len(list((ROOT / "app").rglob("*.py"))) - 1  # without that of app itself
    assert int(installed.run("python", "-c", code)) == modules


def commands_are_those_of_the_checkout(installed: Installed) -> None:
    """`atelier --help` has the commands of `python -m app`, and messages name the installed commands"""
    shown = installed.run("atelier", "--help")
    for name in [command.name or command.callback.__name__ for command in cli.registered_commands]:  # type: ignore[union-attr]
        assert re.search(rf"^\W*{name}\b", shown, re.MULTILINE), f"{name} is missing in {shown}"
    assert "python -m app" not in shown + installed.run("atelier", "serve", "--help")
    assert "run" in installed.run("atelier-training", "--help")
    assert MODEL in installed.run("atelier", "models")


def two_workers_answer(installed: Installed) -> None:
    """Two workers answer over REST and gRPC, and end with SIGTERM"""
    image = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)
    with installed.serving("--workers", "2", "--grpc-port", "0") as (url, log, process):
        body = {"instances": image.tolist()}
        replies = [httpx.post(f"{url}/v1/models/{MODEL}:predict", json=body) for _ in range(REQUESTS)]
        assert {reply.status_code for reply in replies} == {200}, replies[0].text
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2, children
        port = re.search(r"gRPC\D*127\.0\.0\.1:(\d+)", log.read_text())
        assert port is not None, log.read_text()
        client = triton.InferenceServerClient(f"127.0.0.1:{port[1]}")
        given = triton.InferInput("pixels", list(SHAPE), "UINT8")
        given.set_data_from_numpy(image)
        over_grpc = client.infer(MODEL, [given]).as_numpy("probabilities")
        client.close()
        np.testing.assert_allclose(over_grpc, replies[0].json()["predictions"], atol=1e-5)


def pages_and_metrics_are_there(installed: Installed) -> None:
    """The page at / with all that it loads, /docs, /metrics and the list of models"""
    with installed.serving() as (url, _, _):
        page = httpx.get(url, headers={"Accept": "text/html"}).text
        files = re.findall(r'(?:src|href)="(playground/[^"]+)"', page)
        assert len(files) >= 3, page
        for path in ("docs", "metrics", "v1/models", "openapi.json", *files):
            reply = httpx.get(f"{url}/{path}")
            assert reply.status_code == 200, f"/{path}: {reply.status_code} {reply.text}"


def a_plugin_runs_in_its_process(installed: Installed) -> None:
    """A backend of another package runs in its process and imports the user's `app`"""
    version = installed.place / "models" / "named" / "1"
    version.mkdir(parents=True)
    (version / "backend.json").write_text('{"backend": "named"}')
    install(installed.place, named=("named", "Named", NAMED))
    with installed.serving("--plugins", "named") as (url, _, _):
        reply = httpx.post(f"{url}/v1/models/named:predict", json={"instances": [1, 2]})
        assert reply.json() == {"predictions": ["app", "app"]}, reply.text


USES: tuple[Callable[[Installed], None], ...] = (
    names_stay_the_users,
    all_modules_import,
    commands_are_those_of_the_checkout,
    two_workers_answer,
    pages_and_metrics_are_there,
    a_plugin_runs_in_its_process,
)
