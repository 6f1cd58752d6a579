"""A serving.json that is broken while the service starts: the last valid one stays in effect."""

import json

import pytest

from tests.support.commands import command
from tests.support.http_requests import answers, ask, image
from tests.support.model_state import entry, loads, serving, shadow
from tests.support.models_directory import publish
from tests.support.service import BOUND_BY_PERMISSIONS, ROOT, Service, wait_until
from tests.support.tiny_models import flip_one_weight, write_brightness_model, write_words_model
from tests.support.workers import Workers

KEPT = ".serving.last-good.json"


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    write_brightness_model(directory)
    publish(directory, 2)
    return directory


def broken(service):
    return service.metric("atelier_serving_json_broken", model="brightness")


def break_it(models, text='{"version_policy": '):
    (models / "brightness" / "serving.json").write_text(text)


def test_after_a_start_the_promoted_version_answers_though_serving_json_is_broken(start, models):
    service = start(models)
    service.client.post("/v2/repository/models/brightness/promote", json={"version": 1}).raise_for_status()
    break_it(models)
    wait_until(lambda: broken(service))
    assert service.stop() == 0

    again = start(models)
    assert answers(again) == "1"
    assert broken(again) == 1
    again.wait_for_log("serving.json: not JSON")
    again.wait_for_log("the last valid serving.json stays in effect")
    assert "serving.json: not JSON" in entry(again, 1)["reason"]
    assert entry(again, 1)["state"] == "READY"
    status = again.client.get("/v1/models/brightness/versions/1").json()["model_version_status"][0]
    assert (status["state"], "not JSON" in status["status"]["error_message"]) == ("AVAILABLE", True)
    reply = again.client.post("/v2/repository/models/brightness/load")
    assert "not JSON" in reply.json()["error"]
    assert reply.json()["error"].endswith("; version 1 continues to serve")
    # The kept copy does not trigger another reload.
    assert loads(again, "ready") == 2
    break_it(models, '{"version_labels": {"stable": 2}}')
    wait_until(lambda: answers(again) == "2" and broken(again) == 0)
    assert entry(again, 2) == {"name": "brightness", "version": "2", "state": "READY"}


def test_a_halted_canary_stays_halted_after_a_start_with_a_broken_file(start, models):
    rollout = {"canary": {"percent": 100}, "halted": "too bad"}
    policy = {"version_labels": {"stable": 1, "canary": 2}, "rollout": rollout, "promoted": [2]}
    break_it(models, json.dumps(policy))
    assert start(models).stop() == 0
    break_it(models, json.dumps(policy)[:-3])
    again = start(models)
    assert {ask(again.client) for _ in range(20)} == {"1"}
    assert (shadow(again)["state"], shadow(again)["reason"]) == ("halted", "too bad")
    assert json.loads((models / "brightness" / KEPT).read_text()) == policy


def test_a_canary_that_is_halted_stays_halted_even_if_the_file_breaks_immediately(start, models):
    rollout = {"shadow": {}, "rollback": {"max_disagreement": 0.0, "min_requests": 1}}
    break_it(models, json.dumps({"version_labels": {"stable": 1, "canary": 2}, "rollout": rollout}))
    service = start(models, "--watch", "off")
    ask(service.client, image(150))  # bright for version 1 and dark for version 2
    wait_until(lambda: "halted" in (models / "brightness" / KEPT).read_text())
    break_it(models)
    assert service.client.post("/v2/repository/models/brightness/load").status_code == 400
    reason = "1 of 1 instances were answered otherwise than by stable, more than max_disagreement 0 allows"
    assert (shadow(service)["state"], shadow(service)["reason"]) == ("halted", reason)
    assert service.stop() == 0
    again = start(models)
    assert (shadow(again)["state"], shadow(again)["reason"]) == ("halted", reason)


@pytest.mark.parametrize("text", ['{"version_labels": ', '{"version_labels": {"stable": "1"}}', ""])
def test_the_first_serving_json_may_be_broken_too(start, models, text):
    service = start(models)
    assert not (models / "brightness" / KEPT).exists()
    break_it(models, text)
    wait_until(lambda: broken(service))
    assert service.stop() == 0
    assert answers(start(models)) == "2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"version_policy": {"specific": {"versions": [7]}}}', "names none of the versions in the repository: 1, 2"),
        ('{"batching": {"length_buckets": [4]}}', "takes no texts"),
    ],
)
def test_a_file_that_specifies_unavailable_settings_counts_as_broken(start, models, text, reason):
    break_it(models, '{"version_labels": {"stable": 1}}')
    service = start(models)
    break_it(models, text)
    wait_until(lambda: broken(service))
    assert service.stop() == 0
    again = start(models)
    assert answers(again) == "1"
    assert broken(again) == 1
    assert reason in entry(again, 1)["reason"]


def test_a_model_that_appears_with_settings_that_no_version_loads_with_serves_with_the_last_valid_file(start, models):
    break_it(models, '{"version_labels": {"stable": 1}}')
    assert start(models).stop() == 0
    break_it(models, '{"batching": {"length_buckets": [4]}}')
    staged = models.parent / "brightness"
    (models / "brightness").rename(staged)
    write_words_model(models)
    service = start(models)
    staged.rename(models / "brightness")
    wait_until(lambda: broken(service))
    assert answers(service) == "1"


def test_a_version_published_while_the_file_is_broken_serves_with_the_last_valid_file(start, models):
    break_it(models, "{}")
    service = start(models)
    break_it(models)
    wait_until(lambda: broken(service))
    publish(models, 3, lambda directory: flip_one_weight(directory, "weights"))
    wait_until(lambda: loads(service, "refused") == 1)
    publish(models, 4)
    wait_until(lambda: serving(service) == ["4"])


def test_without_serving_json_no_copy_is_written(start, models):
    break_it(models, '{"version_labels": {"stable": 1}}')
    service = start(models)
    assert (models / "brightness" / KEPT).exists()
    (models / "brightness" / "serving.json").unlink()
    wait_until(lambda: answers(service) == "2")
    wait_until(lambda: not (models / "brightness" / KEPT).exists())


def test_commands_that_run_next_to_the_service_keep_no_copy(models):
    break_it(models, "{}")
    assert command("promote", "brightness", "1", models=models)[0] == 0
    assert command("models", models=models)[0] == 0
    assert not (models / "brightness" / KEPT).exists()


def test_git_ignores_the_kept_copy():
    assert f"models/*/{KEPT}" in (ROOT / ".gitignore").read_text().splitlines()


def test_a_worker_that_is_replaced_while_the_file_is_broken_serves(models):
    break_it(models, '{"version_labels": {"stable": 1}}')
    service = Service(models, "--workers", "2")
    workers = Workers(service)
    try:
        break_it(models)
        wait_until(lambda: workers.metric("atelier_serving_json_broken", model="brightness"))
        for number in (1, 2):
            workers.wait_for_another(number, workers.kill(number))
        assert set(workers.ask_all(ask)) == {"1"}
        assert workers.metric("atelier_serving_json_broken", model="brightness") == 1
        for number in (1, 2):
            service.wait_for_log(f"worker {number}:", also="the last valid serving.json stays in effect")
    finally:
        workers.close()
        assert service.stop() == 0


def test_without_write_permission_a_broken_file_prevents_the_next_start_and_the_log_warns(start, models):
    break_it(models, '{"version_labels": {"stable": 1}}')
    (models / "brightness").chmod(0o555)
    try:
        service = Service(models, through=BOUND_BY_PERMISSIONS)
        why = "the copy of serving.json cannot be written: Permission denied. If serving.json breaks, a restart uses"
        assert service.log.count(why) == 1
        break_it(models)
        wait_until(lambda: broken(service))
        assert answers(service) == "1"
        assert service.log.count(why) == 1
        assert service.stop() == 0
        again = Service(models, wait_ready=False, through=BOUND_BY_PERMISSIONS)
        wait_until(lambda: "1 model does not serve: brightness" in again.log)
        assert "not JSON" in entry(again, 1)["reason"]
        assert again.stop() == 0
    finally:
        (models / "brightness").chmod(0o755)


def test_a_kept_copy_that_cannot_be_read_counts_as_missing(models):
    break_it(models)
    (models / "brightness" / KEPT).write_text('{"from": "a later release"}')
    service = Service(models, wait_ready=False)
    wait_until(lambda: "1 model does not serve: brightness" in service.log)
    assert service.stop() == 0
