"""A promotion that is interrupted: the old serving.json stays complete, and the version that serves continues."""

import json
import signal
import subprocess
import sys
from contextlib import suppress

import httpx
import pytest

from tests.support.commands import command
from tests.support.http_requests import answers
from tests.support.model_state import entry
from tests.support.models_directory import publish
from tests.support.mounts import needs_mount, on_small_disk, seen_by
from tests.support.service import ROOT, Service, own_environment, wait_until
from tests.support.tiny_models import write_brightness_model
from tests.support.workers import Workers

POLICY = {"version_labels": {"stable": 2}, "promoted": [1], "version_policy": {"latest": {"num_versions": 1}}}
FULL = "serving.json of model 'brightness' cannot be written and is as it was: No space left on device"
# The process hangs after the new serving.json is written next to the old one, and before it replaces it.
STUCK = """
import os, time
fsync = os.fsync
def stuck(descriptor):
    if "/.serving.json." in os.readlink(f"/proc/self/fd/{descriptor}"):
        open(os.environ["STUCK"], "w").close()
        time.sleep(600)
    fsync(descriptor)
os.fsync = stuck
"""


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    write_brightness_model(directory)
    publish(directory, 2)
    write_policy(directory)
    return directory


def write_policy(models):
    (models / "brightness" / "serving.json").write_text(json.dumps(POLICY))


def read_policy(models):
    return json.loads((models / "brightness" / "serving.json").read_text())


def hidden(models):
    return sorted(path.name for path in (models / "brightness").iterdir() if path.name.startswith("."))


def fill(models):
    """Fill the disk until there is no space for one more byte."""
    with suppress(OSError), open(models / "fill", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@needs_mount
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("call", "body"), [("promote", {"version": 1}), ("rollback", {})])
def test_a_route_on_a_full_disk_changes_nothing_and_reports_it(models, workers, call, body):
    service = Service(models, "--workers", str(workers), through=on_small_disk(models, size="1m"))
    asked = Workers(service, workers)
    there = seen_by(service.process.pid, models)
    try:
        fill(there)
        reply = asked.client.post(f"/v2/repository/models/brightness/{call}", json=body)
        assert (reply.status_code, reply.json()) == (500, {"error": FULL})
        assert read_policy(there) == POLICY
        assert hidden(there) == [".serving.last-good.json"]
        assert {answers(service) for _ in range(8)} == {"2"}
        wait_until(lambda: entry(service, 1) is None or entry(service, 1)["state"] == "UNAVAILABLE")
        (there / "fill").unlink()
        asked.client.post(f"/v2/repository/models/brightness/{call}", json=body).raise_for_status()
        assert read_policy(there)["version_labels"] == {"stable": 1}
        assert {answers(service) for _ in range(8)} == {"1"}
    finally:
        asked.close()
        assert service.stop() == 0


@needs_mount
@pytest.mark.parametrize("arguments", [("promote", "brightness", "1"), ("rollback", "brightness")])
def test_a_command_on_a_full_disk_changes_nothing_and_reports_it(models, arguments):
    python = f'"{sys.executable}" -m app {" ".join(arguments)} --models-dir "{models}"'
    script = f"""
        cat /dev/zero > "{models}/fill" 2> /dev/null
        {python}; echo "exit code $?"
        cat "{models}/brightness/serving.json"; echo
        ls -A "{models}/brightness"
        rm "{models}/fill"
        {python}; echo "exit code $?"
    """
    done = subprocess.run(
        [*on_small_disk(models, size="1m"), "sh", "-c", script],
        cwd=ROOT,
        env={**own_environment(), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "error: " in done.stderr
    assert "No space left on device" in done.stderr
    code, policy, *names, said, last = done.stdout.splitlines()
    assert (code, json.loads(policy), sorted(names)) == ("exit code 2", POLICY, ["1", "2", "serving.json"])
    assert said.startswith("brightness: version 1 is stable")
    assert last == "exit code 0"


@needs_mount
def test_on_a_full_disk_the_copy_of_serving_json_is_missing_and_serving_continues(models):
    (models / "brightness" / "serving.json").unlink()
    service = Service(models, through=on_small_disk(models, size="1m"))
    there = seen_by(service.process.pid, models)
    try:
        write_policy(there)
        wait_until((there / "brightness" / ".serving.last-good.json").exists)
        fill(there)
        text = json.dumps({**POLICY, "version_labels": {"stable": 1}})
        (there / "brightness" / "serving.json").write_text(text)
        wait_until(lambda: answers(service) == "1")
        wait_until(lambda: "the copy of serving.json cannot be written: No space left on device" in service.log)
        assert hidden(there) == [".serving.last-good.json"]
    finally:
        assert service.stop() == 0


@pytest.fixture
def stuck(tmp_path):
    """Environment of a process that blocks in the middle of writing serving.json, and the file that it creates then."""
    (tmp_path / "sitecustomize.py").write_text(STUCK)
    path = tmp_path / "stuck"
    return {"PYTHONPATH": str(tmp_path), "STUCK": str(path)}, path


def test_a_command_killed_while_writing_leaves_the_old_file_intact(start, models, stuck):
    environment, is_stuck = stuck
    service = start(models)
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "promote", "brightness", "1", "--models-dir", str(models)],
        cwd=ROOT,
        env={**own_environment(), **environment},
    )
    wait_until(is_stuck.exists)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    assert read_policy(models) == POLICY
    half = [name for name in hidden(models) if name.startswith(".serving.json.")]
    assert len(half) == 1  # an unused temporary file without effect
    assert answers(service) == "2"
    assert command("promote", "brightness", "1", models=models)[0] == 0
    wait_until(lambda: answers(service) == "1")
    assert service.metric("atelier_serving_json_broken", model="brightness") == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_killed_in_the_middle_of_a_promotion_starts_as_it_was_before(start, models, stuck, workers):
    environment, is_stuck = stuck
    service = start(models, "--workers", workers, environment=environment)
    with httpx.Client(base_url=service.url) as client, pytest.raises(httpx.TimeoutException):
        client.post("/v2/repository/models/brightness/promote", json={"version": 1}, timeout=5)
    wait_until(is_stuck.exists)
    assert answers(service) == "2"  # in the meantime
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    assert read_policy(models) == POLICY
    again = start(models, "--workers", workers)
    assert {answers(again) for _ in range(8)} == {"2"}
    reply = again.client.post("/v2/repository/models/brightness/rollback")
    assert (reply.status_code, reply.json()) == (200, {"name": "brightness", "version": 1, "before": 2})
