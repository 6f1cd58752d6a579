"""Triton's model repository extension: index, load, unload; and access to it."""

import shutil
import threading
import time

import httpx
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.support.images import png
from tests.support.service import Service, address_of_this_machine, start_uvicorn
from tests.support.tiny_inputs import PIXELS, expected
from tests.support.tiny_models import flip_one_weight, write_brightness_model, write_words_model
from tests.support.triton_http import pixels

KEY = "s3cret"


@pytest.fixture
def models(tmp_path):
    write_brightness_model(tmp_path)
    write_words_model(tmp_path)
    return tmp_path


@pytest.fixture
def service(models):
    service = Service(models, "--watch", "off")
    yield service
    assert service.stop() == 0


@pytest.fixture
def client(service):
    client = triton.InferenceServerClient(service.url.removeprefix("http://"))
    yield client
    client.close()


def serving_version(service):
    return service.client.get("/v2/models/brightness").json().get("versions")


def test_the_index_lists_every_version_with_its_state(client):
    want = [
        {"name": "brightness", "version": "1", "state": "READY"},
        {"name": "words", "version": "1", "state": "READY"},
    ]
    assert client.get_model_repository_index() == want


def test_an_unloaded_model_stays_unloaded_until_it_is_loaded(client, service):
    client.unload_model("brightness")
    assert not client.is_model_ready("brightness")
    assert client.is_server_ready()
    assert client.get_model_repository_index()[0] == {
        "name": "brightness",
        "version": "1",
        "state": "UNAVAILABLE",
        "reason": "unloaded; POST /v2/repository/models/brightness/load loads it",
    }
    reply = service.client.post("/v2/models/brightness/infer", json={})
    assert reply.status_code == 503
    assert reply.json()["error"] == (
        "model 'brightness' has no version that serves (version 1 is UNAVAILABLE: unloaded; "
        "POST /v2/repository/models/brightness/load loads it)"
    )
    client.load_model("words")
    assert not client.is_model_ready("brightness")
    client.load_model("brightness")
    assert client.is_model_ready("brightness")
    assert (client.infer("brightness", pixels()).as_numpy("probabilities").round(3) == expected(PIXELS).round(3)).all()


def test_the_index_of_ready_models_only(client, service):
    client.unload_model("brightness")
    reply = service.client.post("/v2/repository/index", json={"ready": True})
    assert [entry["name"] for entry in reply.json()] == ["words"]


def test_load_loads_a_newly_published_version_and_retires_the_old_one(client, service, models):
    write_brightness_model(models, version=2, bias=50.0)
    assert serving_version(service) == ["1"]
    entry = {"name": "brightness", "version": "2", "state": "UNAVAILABLE", "reason": "not loaded"}
    assert entry in client.get_model_repository_index()
    client.load_model("brightness")
    assert serving_version(service) == ["2"]
    assert client.infer("brightness", pixels()).get_response()["model_version"] == "2"
    assert not client.is_model_ready("brightness", "1")


def test_load_of_a_refused_version_reports_the_reason_and_the_old_one_keeps_serving(client, service, models):
    flip_one_weight(write_brightness_model(models, version=2), "weights")
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("brightness")
    assert caught.value.status() == "400"
    assert caught.value.message().startswith("model 'brightness' version 2 refused: golden row ")
    assert caught.value.message().endswith("; version 1 continues to serve")
    assert serving_version(service) == ["1"]
    # If no version served before, the older one is loaded instead.
    client.unload_model("brightness")
    with pytest.raises(InferenceServerException, match=r"version 2 refused: .*; version 1 serves instead$"):
        client.load_model("brightness")
    shutil.rmtree(models / "brightness" / "1")
    client.unload_model("brightness")
    with pytest.raises(InferenceServerException, match=r"version 2 refused: .*; no version serves$"):
        client.load_model("brightness")


def test_the_default_version_can_be_queried(client, service, models):
    def model():
        return service.client.get("/v2/repository/models/brightness").json()

    only = {"version": 1, "state": "READY", "reason": ""}
    assert model() == {"name": "brightness", "serving": 1, "labels": {}, "versions": [only]}
    for version in (2, 3):
        write_brightness_model(models, version=version)
    (models / "brightness" / "serving.json").write_text('{"version_labels": {"stable": 2, "canary": 3, "next": 4}}')
    client.load_model("brightness")
    found = model()
    assert (found["serving"], found["labels"]) == (2, {"stable": 2, "canary": 3, "next": 4})
    assert [(each["version"], each["state"]) for each in found["versions"]] == [
        (3, "READY"),
        (2, "READY"),
        (1, "UNAVAILABLE"),
    ]
    assert found["versions"][2]["reason"] == "unloaded: version_policy asks for other versions"
    assert client.infer("brightness", pixels()).get_response()["model_version"] == str(found["serving"])
    client.unload_model("brightness")
    assert (model()["serving"], model()["labels"]) == (None, found["labels"])
    unknown = service.client.get("/v2/repository/models/nope")
    assert (unknown.status_code, unknown.json()["error"]) == (
        404,
        "Request for unknown model: 'nope' is not found; models: brightness, words",
    )
    # The index is Triton's, with no key that a client does not know.
    assert {key for entry in client.get_model_repository_index() for key in entry} == {
        "name",
        "version",
        "state",
        "reason",
    }


def test_load_and_unload_of_an_unknown_model(client):
    for call in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="Request for unknown model: 'nope' is not found") as caught:
            call("nope")
        assert caught.value.status() == "404"


def test_load_with_a_configuration_or_files_is_not_supported(client):
    with pytest.raises(InferenceServerException, match="parameter 'config' of load is not supported") as caught:
        client.load_model("brightness", config="{}", files={"file:1/model.onnx": b"x"})
    assert caught.value.status() == "501"


@pytest.mark.parametrize(
    ("path", "body", "code", "error"),
    [
        ("index", '{"ready": 1}', 400, "'ready' is 1; send true or false"),
        ("index", "[1]", 400, "the JSON document is not an object; send an object {key: value}"),
        ("index", "{", 400, None),
        ("models/words/load", '{"parameters": 1}', 400, "'parameters' is 1; send an object {key: value}"),
        (
            "models/words/load",
            " " * 70_000,
            413,
            "body of more than 65536 bytes; this route accepts only a few settings",
        ),
        (
            "models/words/unload",
            '{"parameters": {"unload_dependents": 1}}',
            400,
            "parameter 'unload_dependents' is 1; unload takes 'unload_dependents', a boolean",
        ),
        ("other/index", "", 501, "'repository_name' specification is not supported; leave 'other' out of the path"),
    ],
)
def test_bad_bodies(tiny, path, body, code, error):
    reply = tiny.post(f"/v2/repository/{path}", content=body)
    assert reply.status_code == code, reply.text
    assert error is None or reply.json() == {"error": error}


def test_policy_all_serves_every_version_and_labels_name_them(models):
    write_brightness_model(models, version=2, bias=50.0)
    (models / "brightness" / "serving.json").write_text(
        '{"version_policy": {"all": true}, "version_labels": {"stable": 1, "canary": 2, "next": 3}}'
    )
    service = Service(models)
    client = service.client
    try:
        assert serving_version(service) == ["1", "2"]
        image = {"content": png(PIXELS[0]), "headers": {"content-type": "image/png"}}

        def answer(place):
            reply = client.post(f"/v1/models/brightness{place}:predict", **image)
            assert reply.status_code == 200, reply.text
            return reply.json()

        assert answer("/labels/stable") == answer("/versions/1") == answer("")
        assert answer("/labels/canary") == answer("/versions/2")
        assert answer("/versions/1") != answer("/versions/2")
        assert client.get("/v1/models/brightness/labels/stable").json()["model_version_status"][0]["version"] == "1"
        metadata = client.get("/v1/models/brightness/labels/canary/metadata").json()
        assert metadata["model_spec"]["version"] == "2"
        gone = client.post("/v1/models/brightness/labels/next:predict", **image)
        assert (gone.status_code, gone.json()["error"]) == (
            404,
            "label 'next' of model 'brightness' names version 3; known versions: 1, 2",
        )
        unknown = client.get("/v1/models/brightness/labels/old")
        assert (unknown.status_code, unknown.json()["error"]) == (
            404,
            "model 'brightness' has no label 'old'; it has labels: stable, canary, next",
        )
    finally:
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("policy", "serves"),
    [('{"latest": {"num_versions": 2}}', ["2", "3"]), ('{"specific": {"versions": [1, 3]}}', ["1", "3"])],
)
def test_policies_choose_versions(models, policy, serves):
    for version in (2, 3):
        write_brightness_model(models, version=version)
    (models / "brightness" / "serving.json").write_text('{"version_policy": ' + policy + "}")
    service = Service(models)
    try:
        assert serving_version(service) == serves
    finally:
        assert service.stop() == 0


def test_a_broken_policy_is_the_reason_in_the_index_and_does_not_stop_other_models(models):
    (models / "brightness" / "serving.json").write_text('{"batching": {"length_buckets": [8, 4]}}')
    service = Service(models)
    try:
        index = service.client.post("/v2/repository/index").json()
        assert index[0]["state"] == "UNAVAILABLE"
        assert "length_buckets is [8, 4]; its values must increase" in index[0]["reason"]
        assert index[1]["state"] == "READY"
        shutil.copy(models / "brightness" / "serving.json", models / "words" / "serving.json")
        reply = service.client.post("/v2/repository/models/words/load")
        assert reply.status_code == 400
        assert "length_buckets" in reply.json()["error"]
        assert service.client.get("/v2/models/words/ready").status_code == 200
    finally:
        assert service.stop() == 0


def test_a_refused_version_that_was_removed_is_forgotten(client, service, models):
    flip_one_weight(write_brightness_model(models, version=2), "weights")
    with pytest.raises(InferenceServerException, match="version 2 refused"):
        client.load_model("brightness")
    shutil.rmtree(models / "brightness" / "2")
    client.load_model("brightness")
    assert [entry["version"] for entry in client.get_model_repository_index() if entry["name"] == "brightness"] == ["1"]
    assert 'version="2",state' not in service.client.get("/metrics").text


def test_a_policy_of_missing_versions_only_is_reported_and_the_loaded_version_keeps_serving(client, service, models):
    policy = models / "brightness" / "serving.json"
    policy.write_text('{"version_policy": {"specific": {"versions": [7]}}}')
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("brightness")
    assert caught.value.message() == (
        "version_policy.specific of model 'brightness' names none of the versions in the repository: 1; "
        "version 1 continues to serve"
    )
    assert serving_version(service) == ["1"]
    policy.unlink()
    client.load_model("brightness")
    assert client.is_model_ready("brightness")


def test_changed_batching_takes_effect_with_load_and_no_request_is_lost(client, service, models):
    def configured():
        return client.get_model_config("brightness")["max_batch_size"]

    (models / "brightness" / "serving.json").write_text('{"batching": {"max_batch_size": 3}}')
    answers, done = [], threading.Event()

    def ask():
        with httpx.Client(base_url=service.url) as own:
            while not done.is_set():
                answers.append(
                    own.post("/v1/models/brightness:predict", json={"instances": PIXELS.tolist()}).status_code
                )

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for each in clients:
        each.start()

    def wait_for(count):
        deadline = time.monotonic() + 20
        while len(answers) < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    try:
        wait_for(8)
        client.load_model("brightness")
        assert configured() == 3
        wait_for(len(answers) + 8)
        (models / "brightness" / "serving.json").write_text(
            '{"batching": {"max_batch_size": 5, "length_buckets": [4]}}'
        )
        with pytest.raises(InferenceServerException, match="takes no texts; version 1 continues to serve"):
            client.load_model("brightness")
        assert configured() == 3
    finally:
        done.set()
        for each in clients:
            each.join()
    assert set(answers) == {200}


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        (
            '{"batching": {"max_batchsize": 3}}',
            "unknown key 'max_batchsize' in batching; known: max_batch_size, max_queue_delay_us, max_queue_rows, "
            "max_queue_bytes, max_queue_s, allowed_batch_sizes, length_buckets, priority_levels, "
            "default_priority_level, default_timeout_ms",
        ),
        (
            '{"baching": {}}',
            "unknown key 'baching'; known: version_policy, version_labels, rollout, promoted, batching",
        ),
        (
            '{"version_policy": {"latest": {"versions": 1}}}',
            "unknown key 'versions' in version_policy.latest; known: num_versions",
        ),
        (
            '{"batching": {"max_batch_size": 0}}',
            "batching.max_batch_size is 0: Input should be greater than or equal to 1",
        ),
        ('{"batching": {"max_batch_size": "16"}}', "batching.max_batch_size is '16': Input should be a valid integer"),
        (
            '{"batching": {"allowed_batch_sizes": [2, 4]}}',
            "allowed_batch_sizes ends with 4 and max_batch_size is not stated; state max_batch_size 4",
        ),
        (
            '{"version_policy": {"all": true, "latest": {}}}',
            "state one of 'latest', 'all' and 'specific'",
        ),
        ("[]", "the document is []: "),
        ("", "not JSON: "),
        ("{", "not JSON: "),
    ],
)
def test_a_mistake_in_serving_json_is_reported_in_words(client, models, policy, error):
    path = models / "brightness" / "serving.json"
    path.write_text(policy)
    with pytest.raises(InferenceServerException) as caught:
        client.load_model("brightness")
    assert caught.value.message().startswith(f"{path}: {error}")


def test_admin_routes_are_closed_beyond_this_machine_without_a_key(models):
    service = Service(models, "--host", "0.0.0.0")
    try:
        for call in ("load", "unload"):
            reply = service.client.post(f"/v2/repository/models/words/{call}")
            assert reply.status_code == 403
            assert reply.json()["error"] == (
                f"/v2/repository/models/words/{call} is closed, because the service listens beyond this machine and "
                "has no admin key; set ATELIER_ADMIN_KEY"
            )
        assert service.client.post("/v2/repository/index").status_code == 200
        assert service.client.get("/v2/models/words/ready").status_code == 200
        service.wait_for_log("load, unload, promote and rollback are closed: 0.0.0.0 is not this machine alone")
    finally:
        assert service.stop() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_a_key_admin_routes_require_it_from_every_host(models, monkeypatch, host):
    service = Service(models, "--host", host, environment={"ATELIER_ADMIN_KEY": KEY})
    client = triton.InferenceServerClient(service.url.removeprefix("http://"))
    try:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}):
            with pytest.raises(InferenceServerException, match="requires the admin key") as caught:
                client.unload_model("words", headers=headers)
            assert caught.value.status() == "403"
        assert client.is_model_ready("words")
        client.unload_model("words", headers={"Authorization": f"Bearer {KEY}"})
        assert not client.is_model_ready("words")
        assert KEY not in service.log
    finally:
        client.close()
        assert service.stop() == 0


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"origin": "http://evil.example"}, "closed to other sites"),
        ({"host": "evil.example"}, "the Host header is 'evil.example', which is not a name of this service"),
    ],
)
def test_a_page_of_another_site_cannot_unload(tiny, headers, error):
    reply = tiny.post("/v2/repository/models/words/unload", headers=headers)
    assert reply.status_code == 403
    assert error in reply.json()["error"]
    assert tiny.get("/v2/models/words/ready").status_code == 200


def test_uvicorns_own_address_counts_when_it_was_started_without_ours(models):
    """``uvicorn --factory app.main:create_app --host 0.0.0.0`` leaves the setting at its default."""
    with start_uvicorn(models, host="0.0.0.0") as port:
        near = httpx.post(f"http://127.0.0.1:{port}/v2/repository/models/words/load")
        far = httpx.post(f"http://{address_of_this_machine()}:{port}/v2/repository/models/words/load")
    assert (near.status_code, far.status_code) == (200, 403)
