"""Versions published in the models directory serve without a command, and incomplete ones do not."""

import json
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.contract.manifest import write_manifest
from app.repository.changes import is_remote
from benchmarks.reload import Rates, measure_reloads
from tests.support.commands import command
from tests.support.http_requests import answers
from tests.support.model_state import entry, loads, serving
from tests.support.models_directory import publish
from tests.support.service import BOUND_BY_PERMISSIONS, ROOT, Service, wait_until
from tests.support.tiny_inputs import PIXELS
from tests.support.tiny_models import flip_one_weight, write_brightness_model, write_words_model

NO_ROLLBACK = "cannot roll back model 'brightness': no version was the default before version 1, and none is older"


@pytest.fixture
def models(tmp_path):
    directory = tmp_path / "models"
    write_brightness_model(directory)
    write_words_model(directory)
    return directory


@pytest.fixture
def service(start, models):
    return start(models)


def touch_another_model(service, models):
    """Trigger a scan of the directory, and wait until it is done."""
    words = models / "words"
    version = max(int(each.name) for each in words.iterdir()) + 1
    staged = write_words_model(models / ".staging", version=version)
    staged.rename(words / str(version))
    wait_until(lambda: serving(service, "words") == [str(version)])


@contextmanager
def under_load(service, *, clients=4):
    """Send requests continuously; yields the list of status codes."""
    codes, done = [], threading.Event()

    def ask():
        with httpx.Client(base_url=service.url) as own:
            while not done.is_set():
                body = {"instances": PIXELS.tolist()}
                codes.append(own.post("/v1/models/brightness:predict", json=body).status_code)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(codes) > 8)
        yield codes
    finally:
        done.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("mode", ["auto", "poll"])
def test_a_published_version_serves_and_no_request_is_lost(start, models, mode):
    service = start(models, "--watch", mode)
    with under_load(service) as codes:
        publish(models, 2)
        wait_until(lambda: serving(service) == ["2"])
        wait_until(lambda: entry(service, 1)["state"] == "UNAVAILABLE")
        after = len(codes)
        wait_until(lambda: len(codes) > after + 8)
    assert set(codes) == {200}
    assert entry(service, 1)["reason"] == "unloaded: version_policy asks for other versions"
    assert loads(service, "ready") == 2


def test_a_service_that_does_not_watch_loads_new_versions_only_by_command(start, models):
    service = start(models, "--watch", "off")
    publish(models, 2)
    time.sleep(3)
    assert serving(service) == ["1"]


def _flip_a_byte(directory):
    data = bytearray((directory / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (directory / "model.onnx").write_bytes(data)


def _no_graph(directory):
    (directory / "model.onnx").write_bytes(b"no graph")
    write_manifest(directory)


def _no_contract(directory):
    (directory / "model.json").write_text("{}")
    write_manifest(directory)


def _a_directory(directory):
    (directory / "golden.npz").unlink()
    (directory / "golden.npz").mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_flip_a_byte, "sha256"),
        (lambda directory: (directory / "golden.npz").unlink(), "golden.npz"),
        (lambda directory: (directory / "manifest.json").write_text("{"), "manifest.json"),
        (_no_graph, "model.onnx"),
        (_no_contract, "model.json"),
        (_a_directory, "golden.npz"),
        (lambda directory: flip_one_weight(directory, "weights"), "golden row"),
    ],
    ids=["wrong hash", "missing file", "broken manifest", "no graph", "no contract", "a directory", "golden mismatch"],
)
def test_a_bad_version_is_refused_once_and_the_old_one_keeps_serving(service, models, spoil, reason):
    with under_load(service) as codes:
        publish(models, 2, spoil)
        wait_until(lambda: loads(service, "refused") == 1)
        assert reason in entry(service, 2)["reason"]
        status = service.client.get("/v1/models/brightness/versions/2").json()["model_version_status"][0]["status"]
        assert (status["error_code"], reason in status["error_message"]) == ("FAILED_PRECONDITION", True)
        service.wait_for_log("brightness version 2 refused", also=reason)
        assert service.metric("atelier_model_state", model="brightness", version="2", state="UNAVAILABLE") == 1
        assert serving(service) == ["1"]
        # Scanned again, and not retried: none of its files has changed.
        touch_another_model(service, models)
        assert loads(service, "refused") == 1
        shutil.rmtree(models / "brightness" / "2")
        publish(models, 2)
        wait_until(lambda: serving(service) == ["2"])
    assert set(codes) == {200}


def test_a_version_that_is_copied_file_by_file_serves_when_it_is_complete(service, models):
    source = write_brightness_model(models.parent / "elsewhere", version=2, bias=50.0)
    target = models / "brightness" / "2"
    target.mkdir()
    for name in ("model.onnx", "model.json", "golden.npz"):
        shutil.copy(source / name, target)
        touch_another_model(service, models)
        assert entry(service, 2) is None
    # The manifest names a file that does not exist yet: refused, and retried when it exists.
    shutil.copy(source / "manifest.json", target)
    wait_until(lambda: "metrics.json" in (entry(service, 2) or {}).get("reason", ""))
    assert serving(service) == ["1"]
    shutil.copy(source / "metrics.json", target)
    wait_until(lambda: serving(service) == ["2"])


def test_a_version_that_was_refused_for_serving_json_is_retried_when_the_file_is_fixed(start, models):
    path = models / "brightness" / "serving.json"
    path.write_text('{"batching": {"length_buckets": [4]}}')
    service = start(models)  # the other model serves
    assert "takes no texts" in entry(service, 1)["reason"]
    path.write_text('{"batching": {"length_buckets": [5]}}')
    wait_until(lambda: loads(service, "refused") == 2)
    touch_another_model(service, models)
    path.write_text('{"batching": {"length_buckets": [5]}, "version_labels": {"old": 1}}')
    touch_another_model(service, models)
    assert loads(service, "refused") == 2, "nothing that it is loaded with has changed"
    path.write_text('{"batching": {"max_batch_size": 3}}')
    wait_until(lambda: serving(service) == ["1"])
    assert answers(service) == "1"


def test_a_version_that_keeps_changing_is_retried_less_and_less_often(service, models):
    publish(models, 2, _flip_a_byte)
    wait_until(lambda: loads(service, "refused") == 1)
    started = time.monotonic()
    while time.monotonic() < started + 8:
        (models / "brightness" / "2" / "notes.txt").write_text(str(time.monotonic()))
        time.sleep(0.2)
    # There are 1, 2 and 4 seconds between the attempts.
    assert 2 <= loads(service, "refused") <= 4
    assert serving(service) == ["1"]


def test_serving_json_is_followed_and_a_broken_one_changes_nothing(service, models):
    path = models / "brightness" / "serving.json"
    publish(models, 2)
    wait_until(lambda: serving(service) == ["2"])
    path.write_text('{"version_policy": {"all": true}}')
    wait_until(lambda: serving(service) == ["1", "2"])
    path.write_text('{"version_policy": ')
    wait_until(lambda: "serving.json: not JSON" in service.log)
    assert serving(service) == ["1", "2"]
    assert service.metric("atelier_serving_json_broken", model="brightness") == 1
    for version in (1, 2):
        assert entry(service, version)["state"] == "READY"
        assert entry(service, version)["reason"].endswith("it continues to serve as before")
        assert "serving.json: not JSON" in entry(service, version)["reason"]
    path.write_text('{"version_policy": {"specific": {"versions": [1]}}}')
    wait_until(lambda: serving(service) == ["1"])
    assert entry(service, 1) == {"name": "brightness", "version": "1", "state": "READY"}
    assert service.metric("atelier_serving_json_broken", model="brightness") == 0
    path.unlink()
    wait_until(lambda: serving(service) == ["2"])
    # Version 1 is retired now: a file that is broken and then fixed specifies it again, and it is loaded.
    path.write_text('{"x": 1}')
    wait_until(lambda: "unknown key 'x'" in service.log)
    assert entry(service, 1)["reason"] == "unloaded: version_policy asks for other versions"
    path.write_text('{"version_labels": {"stable": 1}}')
    wait_until(lambda: answers(service) == "1")
    service.wait_for_log("the default version is 1 (previously 2)")


def test_new_models_appear_and_a_removed_one_keeps_serving(service, models):
    staged = write_brightness_model(models.parent / "staging", name="new").parent
    staged.rename(models / "new")
    wait_until(lambda: serving(service, "new") == ["1"])
    (models / "new").rename(models / ".new")
    wait_until(lambda: "model new is gone from the models directory" in service.log)
    assert serving(service, "new") == ["1"]
    (models / ".new").rename(models / "new")
    touch_another_model(service, models)
    assert loads(service, "ready", "new") == 1


def test_the_older_version_serves_when_the_newest_is_removed(service, models):
    publish(models, 2)
    wait_until(lambda: serving(service) == ["2"])
    with under_load(service) as codes:
        shutil.rmtree(models / "brightness" / "2")
        wait_until(lambda: serving(service) == ["1"])
        wait_until(lambda: entry(service, 2)["state"] == "UNAVAILABLE")
        assert entry(service, 2)["reason"] == "unloaded: it is gone from the disk"
    assert set(codes) == {200}


def test_an_unloaded_model_stays_unloaded_when_versions_are_published(service, models):
    service.client.post("/v2/repository/models/brightness/unload").raise_for_status()
    publish(models, 2)
    touch_another_model(service, models)
    assert service.client.get("/v2/models/brightness/ready").status_code == 503
    service.client.post("/v2/repository/models/brightness/load").raise_for_status()
    assert serving(service) == ["2"]


def test_versions_that_cannot_be_read_do_not_stop_serving_ones(models):
    service = Service(models, through=BOUND_BY_PERMISSIONS)
    closed = models / "brightness"
    try:
        publish(models, 2)
        wait_until(lambda: serving(service) == ["2"])
        closed.chmod(0)
        wait_until(lambda: "model brightness cannot be read: Permission denied" in service.log)
        touch_another_model(service, models)
        assert serving(service) == ["2"]
        closed.chmod(0o755)
        publish(models, 3, lambda directory: (directory / "model.onnx").chmod(0))
        wait_until(lambda: loads(service, "refused") == 1)
        assert "Permission denied" in entry(service, 3)["reason"]
        assert serving(service) == ["2"]
        # A change of permissions alone is not a change of the file; an administrator triggers the retry.
        (closed / "3" / "model.onnx").chmod(0o644)
        service.client.post("/v2/repository/models/brightness/load").raise_for_status()
        assert serving(service) == ["3"]
    finally:
        closed.chmod(0o755)
        assert service.stop() == 0


def test_an_idle_service_uses_hardly_any_processor_time(service):
    def seconds():
        return service.metric("process_cpu_seconds_total")

    time.sleep(1)
    before = seconds()
    time.sleep(10)
    assert seconds() - before < 0.1


@pytest.mark.parametrize(
    ("path", "remote"), [("/mnt/share/models", True), ("/mnt/share dir", True), ("/mnt/sharedmodels", False)]
)
def test_remote_file_systems_are_known(tmp_path, path, remote):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/x /mnt/share nfs4 rw 0 0\nbucket /mnt/share\\040dir fuse.s3fs rw 0 0\n"
    )
    assert is_remote(Path(path), mounts) is remote


# Promotion


def test_promote_and_roll_back_by_command(service, models):
    assert command("promote", "brightness", "1", models=models) == (
        0,
        "brightness: version 1 is stable. A running service follows within seconds.",
    )
    publish(models, 2)
    wait_until(lambda: serving(service) == ["1", "2"])
    assert answers(service) == "1"
    with under_load(service) as codes:
        assert command("promote", "brightness", "2", models=models) == (
            0,
            "brightness: version 2 is stable (previously 1). A running service follows within seconds.",
        )
        wait_until(lambda: answers(service) == "2")
        assert command("rollback", "brightness", models=models)[1].startswith(
            "brightness: version 1 is stable (previously 2)."
        )
        wait_until(lambda: answers(service) == "1")
    assert set(codes) == {200}
    code, message = command("rollback", "brightness", models=models)
    assert (code, message) == (2, f"error: {NO_ROLLBACK}")


def test_rollback_without_a_promotion_goes_to_the_next_older_version(service, models):
    publish(models, 2)
    wait_until(lambda: serving(service) == ["2"])
    reply = service.client.post("/v2/repository/models/brightness/rollback")
    assert (reply.status_code, reply.json()) == (200, {"name": "brightness", "version": 1, "before": 2})
    assert answers(service) == "1"


def test_promote_by_route_answers_when_it_is_done(service, models):
    (models / "brightness" / "serving.json").write_text('{"version_labels": {"stable": 1, "canary": 2}}')
    publish(models, 2)
    wait_until(lambda: serving(service) == ["1", "2"])
    assert answers(service) == "1"
    reply = service.client.post("/v2/repository/models/brightness/promote", json={"version": 2})
    assert (reply.status_code, reply.json()) == (200, {"name": "brightness", "version": 2, "before": 1})
    assert answers(service) == "2"
    assert service.client.get("/v1/models/brightness/labels/stable").json()["model_version_status"][0]["version"] == "2"
    assert service.client.get("/v1/models/brightness/labels/canary").status_code == 404


@pytest.mark.parametrize(
    ("call", "body", "code", "error"),
    [
        ("brightness/promote", {"version": 3}, 404, "Could not find version 3 of model brightness; known versions: 1"),
        (
            "nope/promote",
            {"version": 1},
            404,
            "Request for unknown model: 'nope' is not found; models: brightness, words",
        ),
        ("nope/rollback", {}, 404, "Request for unknown model: 'nope' is not found; models: brightness, words"),
        ("brightness/promote", {"version": "2"}, 400, '\'version\' is "2"; send a number, as in {"version": 2}'),
        ("brightness/promote", {}, 400, "'version' is null; send a number, as in {\"version\": 2}"),
        ("brightness/promote", {"version": True}, 400, "'version' is true; send a number, as in {\"version\": 2}"),
        ("brightness/promote", {"versoin": 2}, 400, "key 'versoin' is unknown; send 'version'"),
        ("brightness/rollback", {"version": 1}, 400, "key 'version' is unknown; send an empty body"),
        ("brightness/rollback", {}, 404, NO_ROLLBACK),
    ],
)
def test_bad_promotions_change_nothing(service, models, call, body, code, error):
    reply = service.client.post(f"/v2/repository/models/{call}", json=body)
    assert (reply.status_code, reply.json()) == (code, {"error": error})
    assert not (models / "brightness" / "serving.json").exists()


def test_a_version_that_does_not_load_is_not_promoted(service, models):
    publish(models, 2, lambda directory: flip_one_weight(directory, "weights"))
    wait_until(lambda: loads(service, "refused") == 1)
    reply = service.client.post("/v2/repository/models/brightness/promote", json={"version": 2})
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("model 'brightness' version 2 does not become stable: golden row ")
    assert not (models / "brightness" / "serving.json").exists()
    # After the command the file specifies it, and the service keeps the loaded version.
    assert command("promote", "brightness", "2", models=models)[0] == 0
    wait_until(lambda: "label 'stable' names version 2, which does not serve" in service.log)
    assert answers(service) == "1"


def test_after_a_start_the_previous_stable_version_answers_if_stable_is_refused(start, models):
    publish(models, 2)
    publish(models, 3, lambda directory: flip_one_weight(directory, "weights"))
    assert command("promote", "brightness", "1", models=models)[0] == 0
    assert command("promote", "brightness", "3", models=models)[0] == 0
    service = start(models)
    assert answers(service) == "1"


def test_the_command_does_not_promote_an_incomplete_version(models):
    publish(models, 2, lambda directory: (directory / "golden.npz").unlink())
    code, message = command("promote", "brightness", "2", models=models)
    assert (code, "golden.npz" in message) == (2, True)
    assert not (models / "brightness" / "serving.json").exists()


def test_a_promotion_that_cannot_be_written_changes_nothing(service, models):
    publish(models, 2)
    wait_until(lambda: serving(service) == ["2"])
    (models / "brightness" / "serving.json").symlink_to("/proc/nothing/serving.json")
    reply = service.client.post("/v2/repository/models/brightness/promote", json={"version": 1})
    assert reply.status_code == 500
    assert "serving.json" in reply.json()["error"]
    assert answers(service) == "2"


def test_a_promotion_that_is_written_and_cannot_be_followed_is_reported(start, models):
    publish(models, 2)
    path = models / "brightness" / "serving.json"
    path.write_text('{"version_labels": {"stable": 1, "old": 1}}')
    service = start(models, "--watch", "off")
    _flip_a_byte(models / "brightness" / "1")  # it serves from memory, and cannot be loaded again
    path.write_text('{"version_labels": {"stable": 1, "old": 1}, "instances": 2}')
    promote = "/v2/repository/models/brightness/promote"
    reply = service.client.post(promote, json={"version": 2})
    assert reply.status_code == 400
    assert reply.json()["error"].startswith(
        "serving.json of model 'brightness' says now that version 2 is stable, and cannot be followed: "
    )
    assert reply.json()["error"].endswith("; version 1 continues to serve")
    assert json.loads(path.read_text())["version_labels"] == {"stable": 2, "old": 1}
    assert answers(service) == "1"
    # The loaded version keeps the label stable, although the other cannot be loaded.
    assert service.client.post(promote, json={"version": 1}).status_code == 200
    assert answers(service) == "1"


def test_promotions_keep_the_rest_of_the_file(models):
    path = models / "brightness" / "serving.json"
    path.write_text('{"batching": {"max_batch_size": 3}, "version_labels": {"old": 1}}')
    publish(models, 2)
    assert command("promote", "brightness", "2", models=models)[0] == 0
    assert path.read_text().replace("\n", "").replace(" ", "") == (
        '{"batching":{"max_batch_size":3},"version_labels":{"stable":2,"old":1},"promoted":[]}'
    )


def test_hot_reloads_lose_no_request_and_keep_no_memory():
    """The long form is ``python -m benchmarks reload``: 500 reloads of all models, with a limit for each.

    60 of these three leave 11 to 27 MB, most of it pools that have filled; 220 MB when the allocator kept all of it.
    """
    names = ("fashion-mnist-cnn", "fashion-mnist-mlp", "imdb-sentiment-lstm")
    sources = [path.parent for name in names for path in (ROOT / "models" / name).glob("*/manifest.json")]
    found = measure_reloads(sources, reloads=60, rates=Rates(good=60, bad=10, gone=5), settled_after=20, limit_mb=3)
    assert found.faults == []
    assert found.tally.codes[200] > 120
    assert found.settled.resident_mb - found.sizes[0].resident_mb < 80
    assert found.settled.threads <= found.sizes[0].threads + 12  # the pool of the event loop, filled by now
    assert found.settled.descriptors <= found.sizes[0].descriptors + 4


def test_circular_links_do_not_stop_polling_of_other_models(start, models):
    circles = write_brightness_model(models, name="circles")
    (circles / "a").symlink_to(circles)
    service = start(models, "--watch", "poll")
    service.wait_for_log("cannot be watched")  # as a whole, by the library
    publish(models, 2)
    wait_until(lambda: serving(service) == ["2"])
    publish(models, 3)
    wait_until(lambda: serving(service) == ["3"])
    assert service.log.count("cannot be watched") == 1
