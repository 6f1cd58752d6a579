"""The closed loop as clients and operators see it: record, feed back, retrain, publish, shadow, promote, roll back.

The data is generated: messages to a shop, and later ones in which known words mean something else.
"""

import re
import shlex
import subprocess
import sys

import pytest

from tests.support.model_state import serving, shadow
from tests.support.models_directory import write_policy
from tests.support.readme import commands
from tests.support.recordings import switch
from tests.support.service import ROOT, Service, own_environment, running, wait_until
from tests.support.training_command import run_training
from tests.training.shop import new_messages, write_shop

PAGE = ROOT / "docs/how-to/retrain.md"
MODEL = "/v1/models/shop"
MESSAGES = new_messages(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loop")
    write_shop(folder)
    python(folder, "training", "run", "shop", "--publish", "--epochs", "6")
    return folder


@pytest.fixture(scope="module")
def service(folder):
    switch(folder / "models/shop", {})
    yield from running(Service(folder / "models", environment={"ATELIER_STATE_DIR": str(folder / "state")}))


def python(folder, package, *arguments):
    """A command of the project in the folder; returns what it prints."""
    if package == "training":
        ended = run_training(*arguments, cwd=folder)
        assert ended.code == 0, ended.out + ended.err
        return ended.out
    environment = {**own_environment(), "PYTHONPATH": str(ROOT), "ATELIER_STATE_DIR": str(folder / "state")}
    command = [sys.executable, "-m", package, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def of_page(folder, command, *more):
    """Run a command of the page, for this model."""
    program, minus_m, package, *arguments = shlex.split(command.line.replace("tickets", "shop"))
    assert (program, minus_m) == (".venv/bin/python", "-m")
    return python(folder, package, *arguments, *more)


def without_figures(text):
    """The lines, with the file of the old rows as the page calls it and # for numbers."""
    return re.sub(r"\d[\d.-]*", "#", text.replace("shop.csv", "tickets.csv")).splitlines()


def classify(service, text):
    """The label of a message, and the id of the request."""
    reply = service.client.post(f"{MODEL}:classify", content=text, headers={"Content-Type": "text/plain"})
    assert reply.status_code == 200, reply.text
    return reply.json()["results"][0][0][0], reply.headers["x-request-id"]


def share_right(service):
    """Share of the messages that get the right label."""
    return sum(classify(service, text)[0] == label for text, label in MESSAGES) / len(MESSAGES)


def test_what_clients_send_back_becomes_the_next_version(folder, service):
    # Clients ask, and say later what would have been right.
    asked = [(*classify(service, text), label) for text, label in MESSAGES]
    before = sum(got == label for got, _, label in asked) / len(asked)
    assert before < 0.9
    for _, request_id, label in asked:
        reply = service.client.post(f"{MODEL}:feedback", json={"request_id": request_id, "label": label})
        assert reply.status_code == 200, reply.text
    switch(folder / "models/shop", None, version_labels={"stable": 1})
    export, retrain = commands(PAGE)
    assert of_page(folder, export) == export.output + "\n"

    # Retrained, better, published; clients still get version 1.
    printed = of_page(folder, retrain, "--epochs", "30", "--set", "optimizer.learning_rate=0.02")
    assert without_figures(printed)[:4] == without_figures(retrain.output.replace("tickets", "shop"))[:4]
    assert "published: models/shop/2" in printed
    wait_until(lambda: service.client.get(f"{MODEL}/versions/2").status_code == 200)
    wait_until(lambda: serving(service, "shop") == ["1", "2"])
    assert share_right(service) == before

    # Copies go to the canary: the answers of clients do not change, the comparison shows that it answers otherwise.
    write_policy(folder / "models", {"shadow": {"percent": 100}}, name="shop")
    wait_until(lambda: service.client.get("/v2/models/shop/shadow").status_code == 200)
    assert share_right(service) == before
    wait_until(lambda: shadow(service, "shop")["instances"]["compared"] >= len(MESSAGES))
    found = shadow(service, "shop")["instances"]
    assert found["agreed"] < found["compared"]

    # Promoted: clients get the new answers, and after a rollback the old ones.
    python(folder, "app", "promote", "shop", 2, "--models-dir", "models")
    wait_until(lambda: share_right(service) > before)
    after = share_right(service)
    assert after > before + 0.1
    python(folder, "app", "rollback", "shop", "--models-dir", "models")
    wait_until(lambda: share_right(service) == before)
