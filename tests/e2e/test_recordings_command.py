"""``python -m app recordings``: what is recorded is listed, exported and deleted while the service runs."""

import json
import stat

import pytest

from app.contract.recordings.reading import read_recordings
from tests.support.commands import run
from tests.support.recordings import recorded, switch
from tests.support.service import Service, running, wait_until
from tests.support.tiny_models import SIDE, write_brightness_model

PREDICT, FEEDBACK = "/v1/models/brightness:predict", "/v1/models/brightness:feedback"


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def service(tmp_path, state):
    switch(write_brightness_model(tmp_path / "models"), {})
    yield from running(Service(tmp_path / "models", environment={"ATELIER_STATE_DIR": str(state)}))


@pytest.fixture
def asked(service, state):
    """Ids of three requests; the first has two instances, and one right answer."""
    rows = [[[level] * SIDE] * SIDE for level in (0, 255)]
    replies = [service.client.post(PREDICT, json={"instances": some}) for some in (rows, rows[:1], rows[1:])]
    ids = [reply.headers["x-request-id"] for reply in replies]
    body = {"request_id": ids[0], "instance": 1, "label": "dark"}
    assert service.client.post(FEEDBACK, json=body).status_code == 200
    wait_until(lambda: len(recorded(state)) == 4)
    return ids


def command(state, *arguments):
    done = run("recordings", *arguments, ATELIER_STATE_DIR=str(state))
    return done.returncode, done.stdout, done.stderr.strip()


def test_a_summary_and_a_list(state, asked):
    for arguments in ((), ("brightness",)):
        code, out, _ = command(state, *arguments)
        assert code == 0
        assert "instances  4, 1 with the right answer" in out
        assert f"in         {state / 'recordings' / 'brightness'}" in out
    _, out, _ = command(state, "brightness", "--list")
    assert [out.count(each) for each in asked] == [2, 1, 1]
    assert "bright (1.0000)" in out
    _, out, _ = command(state, "brightness", "--list", "--most", "1")
    assert asked[2] in out
    assert asked[0] not in out
    _, out, _ = command(state, "brightness", "--request-id", asked[1])
    assert asked[1] in out
    assert asked[2] not in out


def test_an_exported_file_is_read_by_training(state, asked, tmp_path):
    path = tmp_path / "x.jsonl"
    code, out, _ = command(state, "brightness", "--export", path)
    assert (code, out) == (0, f"wrote {path}: 4 instances\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    exported = list(read_recordings(path))
    assert [each.request_id for each in exported] == [asked[0], asked[0], *asked[1:]]
    assert [each.feedback and each.feedback.label for each in exported] == [None, "dark", None, None]
    assert all(json.loads(line) for line in path.read_text().splitlines())
    before = path.read_bytes()
    assert command(state, "brightness", "--export", path)[0::2] == (2, f"error: {path} exists; choose another file")
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_a_request_is_deleted_while_the_service_runs(service, state, asked):
    code, out, _ = command(state, "brightness", "--delete", "--request-id", asked[0])
    assert (code, out) == (0, f"brightness: request {asked[0]} is deleted (2 instances)\n")
    assert [each.request_id for each in recorded(state)] == asked[1:]
    assert not any(asked[0].encode() in path.read_bytes() for path in (state / "recordings" / "brightness").iterdir())
    assert (
        service.client.post(FEEDBACK, json={"request_id": asked[0], "instance": 0, "label": "dark"}).status_code == 404
    )
    assert service.client.post(FEEDBACK, json={"request_id": asked[1], "label": "dark"}).status_code == 200
    code, _, error = command(state, "brightness", "--delete", "--request-id", asked[0])
    assert (code, error) == (1, f"error: request {asked[0]!r} of model 'brightness' is not recorded")


def test_all_is_deleted_and_the_service_continues(service, state, asked):
    assert command(state, "brightness", "--delete")[1] == "brightness: all recordings are deleted (1 file)\n"
    assert recorded(state) == []
    assert service.client.post(FEEDBACK, json={"request_id": asked[1], "label": "dark"}).status_code == 404
    body = bytes(SIDE * SIDE)
    reply = service.client.post(PREDICT, content=body, headers={"Content-Type": "application/octet-stream"})
    wait_until(lambda: [each.request_id for each in recorded(state)] == [reply.headers["x-request-id"]])
    assert service.metric("atelier_recording_dropped_rows_total") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("none",), 1, "; models with recordings: none"),
        (("--delete",), 2, "name a model: python -m app recordings MODEL"),
        (("m", "--delete", "--list"), 2, "--list, --export and --delete exclude each other"),
        (("..", "--delete"), 1, "no request to model '..' is recorded"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, arguments, code, error):
    found, _, said = command(tmp_path, *arguments)
    assert (found, said.partition(error)[1]) == (code, error)
    assert len(said.splitlines()) == 1


def test_a_model_without_recordings_is_answered_with_those_that_have_some(state, asked):
    code, _, error = command(state, "nope")
    expected = f"error: no request to model 'nope' is recorded in {state}; models with recordings: brightness"
    assert (code, error) == (1, expected)


def test_a_file_of_another_kind_is_refused(state, asked, tmp_path):
    code, _, error = command(state, "brightness", "--export", tmp_path / "x.csv")
    assert (code, error) == (2, f"error: --export is '{tmp_path / 'x.csv'}'; its name must end in .jsonl")


def test_without_recordings_the_summary_says_so(tmp_path):
    assert command(tmp_path) == (0, f"no request is recorded in {tmp_path}\n", "")
