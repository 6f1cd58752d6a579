"""The commands of docs/how-to/record-and-give-feedback.md print what it shows, but for times, ids and places."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.support.readme import ROOT, agree, code, commands
from tests.support.recordings import recorded
from tests.support.service import Service, own_environment, running, wait_until

PAGE = ROOT / "docs/how-to/record-and-give-feedback.md"
MODEL = "fashion-mnist-cnn"
ID = re.compile(r"\b[0-9a-f]{12}-[0-9a-f]+\b")
CHANGES = {
    r"(?m)^(date|server-timing): .*$": r"\1: ...",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ": "TIME",
    r"(?m)^  in +.*$": "  in PLACE",
    r" +$": "",
    r"[─━]+": "-",
    r" *│": " │",
    r" *┃": " ┃",
}


@pytest.fixture
def place(tmp_path):
    """A directory with the model, the examples, and an empty place for recordings."""
    shutil.copytree(ROOT / "models" / MODEL, tmp_path / "models" / MODEL)
    shutil.copytree(ROOT / "docs/examples", tmp_path / "docs/examples")
    return tmp_path


@pytest.fixture
def service(place):
    yield from running(Service(place / "models", environment={"ATELIER_STATE_DIR": str(place / "state")}))


def without_changes(text):
    text = ID.sub("ID", text.replace("\r", ""))
    for pattern, instead in CHANGES.items():
        text = re.sub(pattern, instead, text, flags=re.MULTILINE)
    return text


def test_the_commands_of_the_page(service, place):
    environment = {
        **own_environment(),
        "ATELIER_STATE_DIR": str(place / "state"),
        "ATELIER_API_KEYS_FILE": str(place / "keys.json"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }
    port, ids, listed = service.url.rpartition(":")[2], {}, commands(PAGE)
    assert len(listed) > 8

    def run(line):
        line = re.sub(r"^(\.venv/bin/)?python ", f"{sys.executable} ", line.replace("8000", port))
        for shown, own in ids.items():
            line = line.replace(shown, own)
        line = line.replace("curl ", "curl -sS ", 1)
        done = subprocess.run(line, shell=True, cwd=place, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        return done.stdout

    for command in listed:
        if "--delete --request-id" in command.line:  # while the recordings of the example are there
            [example] = code("python", PAGE)
            (place / "read.py").write_text(example)
            [promised] = code("text", PAGE)
            assert without_changes(run(f"{sys.executable} read.py")) == without_changes(promised)
        printed = run(command.line)
        assert not command.output or agree(
            without_changes(printed), without_changes(command.output), tolerance=0.002
        ), f"{command.line}\n{printed}"
        if command.line.startswith("echo"):
            service.wait_for_log("of the requests are recorded in")
        if command.line.startswith("curl -i"):
            [shown], [own] = ID.findall(command.output), ID.findall(printed)
            ids[shown] = own
            wait_until(lambda: recorded(place / "state", MODEL))
