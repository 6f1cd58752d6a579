"""Every command in the README, the tutorial and the how-to guides prints what they show, in a copy of the checkout."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tests.support.readme import ROOT, agree, code, commands
from tests.support.tfs import QUIET, tfs_client
from training.datasets.drawn.synthetic import draw_garment

PAGES = (
    "README.md",
    "docs/index.md",
    "docs/tutorial/first-model.md",
    "docs/how-to/send-requests.md",
    "docs/how-to/explain-predictions.md",
    "docs/how-to/train-and-publish.md",
    "docs/how-to/roll-out.md",
    "docs/how-to/use-a-gpu.md",
    "docs/how-to/use-more-cores.md",
)
# Their commands require root, certificates, keys of an earlier command, other machines, or minutes.
NOT_RUN = (
    "docs/how-to/security.md",
    "docs/how-to/tune-and-speed-up.md",
    "docs/how-to/quantize.md",
    "docs/how-to/outgrow-one-machine.md",
    "docs/how-to/run-on-ray.md",
    "docs/how-to/serve-models-from-storage.md",
    "docs/how-to/trace-requests.md",
    "docs/how-to/several-inputs-and-outputs.md",
    "docs/how-to/label-sets-and-weights.md",
    "docs/explanation/batching.md",
)
# Run by tests of their own in tests/e2e: test_imported_models.py, test_score.py, test_record_page.py, test_own_data.py,
# test_retraining.py; the page about Kubernetes by tests/deploy/test_kubernetes_schemas.py.
RUN_ELSEWHERE = (
    "docs/how-to/bring-a-model.md",
    "docs/how-to/score-files.md",
    "docs/how-to/record-and-give-feedback.md",
    "docs/how-to/retrain.md",
    "docs/how-to/run-on-kubernetes.md",
    "docs/tutorial/your-photos.md",
    "docs/tutorial/your-table.md",
    "docs/tutorial/your-texts.md",
)
# Options that a test adds to a command that otherwise takes hours or gigabytes.
SMALL = {
    ".venv/bin/python -m training run": " --dataset synthetic --set data.synthetic_count=800 --epochs 1 --force",
    "make train": ' ARGS="fashion-mnist-mlp"',
}
# `make test` runs this; the installation is the same as the checkout's.
NOT_RUN_HERE = {"make test"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Checkout:
    """A copy of the checkout with a service that can be started and stopped."""

    def __init__(self, directory):
        self.directory = directory
        self.port, self.grpc_port = free_port(), free_port()
        self.service = None
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
        self.environment = {**environment, "COLUMNS": "200"}

    def with_own_ports(self, text):
        return re.sub(r"\b8000\b", str(self.port), re.sub(r"\b8001\b", str(self.grpc_port), text))

    def run(self, line):
        for start, addition in SMALL.items():
            if f"{line} ".startswith(f"{start} "):
                line += addition
        line = self.with_own_ports(line).replace("curl ", "curl -sS ", 1)
        result = subprocess.run(
            line, shell=True, cwd=self.directory, env=self.environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def serve(self, arguments=""):
        self.stop()
        self.service = subprocess.Popen(
            ["make", "serve", f"PORT={self.port}", f"ARGS={self.with_own_ports(arguments)}"],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://localhost:{self.port}/v2/health/ready").close()
                return
            except (urllib.error.URLError, ConnectionError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                assert time.monotonic() < deadline, "make serve did not become ready"
                time.sleep(0.1)

    def stop(self):
        if self.service is not None:
            os.killpg(self.service.pid, signal.SIGTERM)
            output = self.service.communicate(timeout=30)[0].decode()
            assert self.service.returncode in {0, -signal.SIGTERM}, output
            self.service = None


def link_environment(directory):
    """The checkout's environment; its stamps are new, so that make installs nothing into it."""
    directory.mkdir()
    for entry in (ROOT / ".venv").iterdir():
        if not entry.name.startswith("."):
            (directory / entry.name).symlink_to(entry.resolve())
    for stamp in (".created", ".serve-installed", ".train-installed", ".dev-installed"):
        (directory / stamp).touch()


@pytest.fixture
def checkout(tmp_path):
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    link_environment(tmp_path / ".venv")
    found = Checkout(tmp_path)
    yield found
    found.stop()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_prints_what_the_page_shows(checkout, page):
    for example in code("python", ROOT / page):
        if example.startswith('"""recipes/'):
            path = example.splitlines()[0].strip('"').split()[0].rstrip(":.")
            (checkout.directory / "recipes").mkdir(exist_ok=True)
            (checkout.directory / path).write_text(example, encoding="utf-8")
    # `make train` compares the model that the page publishes, once it is published.
    listed = sorted(commands(ROOT / page), key=lambda command: command.line == "make train")
    assert listed
    for command in listed:
        if command.line in NOT_RUN_HERE:
            continue
        if command.line.startswith("make serve"):
            checkout.serve(*re.findall('ARGS="(.*)"', command.line))
            continue
        printed = checkout.run(command.line)
        assert agree(printed, command.output, tolerance=0.002) or not command.output, f"{command.line}\n{printed}"


def test_every_page_with_commands_is_run():
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md") if commands(path)}
    assert found == {*PAGES, *NOT_RUN, *RUN_ELSEWHERE} - {"README.md"}


@pytest.mark.parametrize(
    ("page", "client"),
    [
        (page, text)
        for page in PAGES
        for text in code("python", ROOT / page)
        if "tritonclient" in text or "tensorflow_serving" in text
    ],
)
def test_a_client_prints_what_the_page_shows(checkout, page, client):
    checkout.environment |= {"PYTHONPATH": str(tfs_client()), **QUIET}
    checkout.serve("--grpc-port 8001")
    promised = "".join(line.removeprefix("# ") for line in client.splitlines(keepends=True) if line.startswith("# "))
    (checkout.directory / "client.py").write_text(checkout.with_own_ports(client), encoding="utf-8")
    printed = checkout.run(".venv/bin/python client.py")
    assert promised
    assert agree(printed, promised, tolerance=0.002), printed


def test_the_examples_are_those_of_the_generator():
    boot = draw_garment("Ankle boot")
    np.testing.assert_array_equal(np.asarray(Image.open(ROOT / "docs/examples/boot.png")), boot)
    assert json.loads((ROOT / "docs/examples/boot.json").read_text())["instances"] == [boot.tolist()]
