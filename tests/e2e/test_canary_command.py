"""``canary start | status | stop``: what the commands write, a running service follows."""

import json

import pytest

from tests.support.commands import run
from tests.support.service import wait_until
from tests.support.tiny_models import SIDE, write_brightness_model

GREY = bytes([129]) * SIDE * SIDE
"""Both versions differ about it."""


@pytest.fixture
def models(tmp_path):
    models = tmp_path / "models"
    for version in (1, 2):
        write_brightness_model(models, version=version, bias=version)
    return models


def canary(*arguments, models):
    return run("canary", *arguments, "--models-dir", models)


def policy(models):
    return json.loads((models / "brightness/serving.json").read_text())


def score(service, label=""):
    headers = {"Content-Type": "application/octet-stream"}
    return service.client.post(f"/v1/models/brightness{label}:predict", content=GREY, headers=headers).json()


def test_a_running_service_follows_from_the_start_to_the_stop(start, models):
    (models / "brightness/serving.json").write_text(
        '{"version_labels": {"stable": 1}, "batching": {"max_batch_size": 4}}'
    )
    service = start(models)
    alone = score(service)
    started = canary("start", "brightness", 2, "--percent", 100, models=models)
    assert started.stdout == (
        "brightness: version 2 answers 100 % of the requests without a version; version 1 answers the rest. A running "
        "service follows within seconds.\n"
    )
    wait_until(lambda: score(service) != alone)
    assert score(service) == score(service, "/labels/canary")
    shown = canary("status", "brightness", models=models).stdout
    assert [line.split() for line in shown.splitlines()[:3]] == [
        ["brightness,", "version", "2", "is", "the", "canary"],
        ["stable", "version", "1"],
        ["requests", "100", "%"],
    ]
    stopped = canary("stop", "brightness", models=models)
    assert stopped.stdout.startswith("brightness: version 2 is no canary any more.")
    wait_until(lambda: score(service) == alone)
    assert policy(models) == {"version_labels": {"stable": 1}, "batching": {"max_batch_size": 4}}


def test_what_is_not_given_stays_and_a_halted_canary_starts_again(models):
    kept = {"max_error_rate": 0.5, "min_requests": 7}
    before = {"rollout": {"canary": {"percent": 1, "sticky_header": "x-user"}, "rollback": kept, "halted": "too slow"}}
    (models / "brightness/serving.json").write_text(
        json.dumps({"version_labels": {"stable": 1, "canary": 2}, **before})
    )
    assert "too slow" in canary("status", "brightness", models=models).stdout
    canary("start", "brightness", 2, "--percent", 20, "--shadow", 50, "--max-disagreement", 0.1, models=models)
    assert policy(models)["rollout"] == {
        "canary": {"percent": 20, "sticky_header": "x-user"},
        "shadow": {"percent": 50},
        "rollback": {**kept, "max_disagreement": 0.1},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("start", "brightness", 3), "Could not find version 3 of model brightness; known versions: 1, 2"),
        (("start", "nope", 1), "Request for unknown model: 'nope' is not found; models: brightness"),
        (("start", "brightness", 1), "version 1 of model 'brightness' is the stable one; a canary is another version"),
        (("start", "brightness", 2, "--percent", 101), "--percent"),
        (("status", "brightness"), "model 'brightness' has no canary"),
        (("stop", "brightness"), "model 'brightness' has no canary"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(models, arguments, message):
    (models / "brightness/serving.json").write_text('{"version_labels": {"stable": 1}}')
    result = canary(*arguments, models=models)
    assert result.returncode == 2
    assert message in result.stderr
    assert policy(models) == {"version_labels": {"stable": 1}}


def test_a_single_version_has_nothing_to_be_compared_with(tmp_path):
    write_brightness_model(tmp_path)
    result = canary("start", "brightness", 1, models=tmp_path)
    assert (result.returncode, result.stderr.strip()) == (
        2,
        "error: model 'brightness' has no version besides 1 to compare a canary with",
    )
    assert not (tmp_path / "brightness/serving.json").exists()


def test_the_default_version_stays_when_a_newer_canary_is_stopped(models, start):
    (models / "brightness/serving.json").write_text('{"version_policy": {"all": true}}')
    canary("start", "brightness", 2, "--percent", 10, models=models)
    service = start(models)

    def state():
        return service.client.get("/v2/repository/models/brightness").json()

    assert (state()["serving"], state()["labels"]) == (1, {"canary": 2})
    assert "Version 1 has the label stable now" in canary("stop", "brightness", models=models).stdout
    wait_until(lambda: state()["labels"] == {"stable": 1})
    assert state()["serving"] == 1
