"""The right answer to a recorded request: who may send it, what is accepted, and what is refused with which words."""

import time

import pytest

from tests.e2e.test_api_keys import ADMIN_KEY, new_key
from tests.support.http_requests import refused
from tests.support.recordings import recorded, switch
from tests.support.service import Service, address_of_this_machine, running, start_fixture, wait_until
from tests.support.tiny_models import SIDE, write_brightness_model, write_rule_model, write_types_model

PREDICT, FEEDBACK = "/v1/models/brightness:predict", "/v1/models/brightness:feedback"
IMAGE = {"content": bytes(SIDE * SIDE), "headers": {"Content-Type": "application/octet-stream"}}
start = start_fixture(Service)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def service(tmp_path_factory, state):
    """A service that records all requests to its models but one; tests do not change that."""
    models = tmp_path_factory.mktemp("feedback-models")
    for write in (write_brightness_model, write_rule_model):
        switch(write(models), {})
    switch(write_types_model(models, types=("int32", "string")), {})
    switch(write_brightness_model(models, name="brief"), {"feedback_within_s": 1})
    write_brightness_model(models, name="unrecorded")
    yield from running(Service(models, environment={"ATELIER_STATE_DIR": str(state)}))


def asked(service, path=PREDICT, **body):
    reply = service.client.post(path, **(body or IMAGE))
    assert reply.status_code == 200, reply.text
    return reply.headers["x-request-id"]


def test_the_right_label_is_kept_with_the_request(service, state):
    request_id = asked(service)
    before = service.metric("atelier_feedback_total", model="brightness")
    reply = service.client.post(FEEDBACK, json={"request_id": request_id, "label": "bright"})
    assert reply.status_code == 200
    assert reply.json() == {"model": "brightness", "version": 1, "request_id": request_id, "instance": 0}
    [found] = [each for each in recorded(state) if each.request_id == request_id]
    assert (found.label, found.feedback.label, found.feedback.value) == ("dark", "bright", None)
    assert abs(found.feedback.time_s - time.time()) < 60
    assert service.metric("atelier_feedback_total", model="brightness", version="1") == before + 1


def test_a_second_answer_is_refused_even_if_it_is_the_same(service):
    request_id = asked(service)
    assert service.client.post(FEEDBACK, json={"request_id": request_id, "label": "dark"}).status_code == 200
    for label in ("dark", "bright"):
        message = refused(service.client, FEEDBACK, code=409, json={"request_id": request_id, "label": label})
        assert (
            message == f"the right answer to instance 0 of request '{request_id}' is known: 'dark'; it is not replaced"
        )


def test_instances_of_a_request_are_told_apart(service, state):
    request_id = asked(service, json={"instances": [[[level] * SIDE] * SIDE for level in (0, 200, 255)]})
    message = refused(service.client, FEEDBACK, json={"request_id": request_id, "label": "dark"})
    assert message == f"request '{request_id}' has 3 instances; say which one with 'instance', 0 to 2"
    body = {"request_id": request_id, "instance": 1, "label": "dark"}
    assert service.client.post(FEEDBACK, json=body).json()["instance"] == 1
    found = [each.feedback for each in recorded(state) if each.request_id == request_id]
    assert [each and each.label for each in found] == [None, "dark", None]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "'request_id' is None; send the x-request-id of the reply, 1 to 128 characters"),
        ({"request_id": 7, "label": "dark"}, "'request_id' is 7; send the x-request-id"),
        ({"request_id": "x" * 129, "label": "dark"}, "send the x-request-id of the reply, 1 to 128 characters"),
        ({"label": "pale"}, "model 'brightness' has no label 'pale'; its labels are 'dark', 'bright'"),
        ({"label": 1}, "model 'brightness' has no label 1"),
        ({"value": 1.0}, "model 'brightness' classifies; send 'label' in place of 'value'"),
        ({"label": "dark", "value": 1}, "send the right answer as 'label', as 'value' if the model does not"),
        ({"instance": 0}, "send the right answer as 'label', as 'value'"),
        ({"label": "dark", "instance": 1}, "'instance' is 1; request '"),
        ({"label": "dark", "instance": -1}, "'instance' is -1; send a whole number from 0"),
        ({"label": "dark", "instance": True}, "'instance' is True; send a whole number from 0"),
        (
            {"label": "dark", "why": 1},
            "key 'why' is unknown; send 'request_id', 'instance', 'label', 'value' or 'text'",
        ),
    ],
)
def test_what_is_refused_and_nothing_is_kept(service, state, body, message):
    request_id = asked(service)
    wait_until(lambda: any(each.request_id == request_id for each in recorded(state)))
    named = body if "request_id" in body or not body else {"request_id": request_id, **body}
    assert message in refused(service.client, FEEDBACK, json=named)
    assert not [each for each in recorded(state) if each.request_id == request_id and each.feedback]


@pytest.mark.parametrize(("content", "code"), [(b"{", 400), (b"[1]", 400), (b'{"request_id":"' + b"x" * 70_000, 413)])
def test_a_body_that_is_no_object_or_too_long(service, content, code):
    assert refused(service.client, FEEDBACK, code=code, content=content)


def test_numbers_are_the_right_answer_where_there_are_no_labels(service, state):
    rule = "/v1/models/rule:feedback"

    def ask():
        return asked(service, "/v1/models/rule:predict", json={"instances": [[2.5]]})

    for value in (4.5, [4.5], {"values": [4.5]}):
        request_id = ask()
        assert service.client.post(rule, json={"request_id": request_id, "value": value}).status_code == 200
        [found] = [each for each in recorded(state, "rule") if each.request_id == request_id]
        assert found.feedback.value == value
    request_id = ask()
    for value, message in (
        ([1, 2], "'value' has shape (2,); expected float32 of shape (1,)"),
        ("4", "'value' is '4'; send numbers: float32 of shape (1,)"),
        ([[1], [2, 3]], "send numbers"),
        (None, "'value' is None; send numbers"),
        ({"y": 1}, "'value' has 'y'; the outputs are ['values']"),
        ({}, "'value' is empty; the outputs are ['values']"),
    ):
        assert message in refused(service.client, rule, json={"request_id": request_id, "value": value})
    message = refused(service.client, rule, json={"request_id": request_id, "label": "x"})
    assert message == "model 'rule' does not classify; send 'value' in place of 'label'"


def test_outputs_are_named_if_there_are_several(service, state):
    inputs = {"in_int32": [[1, 2]], "in_string": [["a", "b"]]}
    request_id = asked(service, "/v1/models/types:predict", json={"inputs": inputs})
    path = "/v1/models/types:feedback"
    message = refused(service.client, path, json={"request_id": request_id, "value": [1, 2]})
    assert message == "model 'types' has several outputs: send 'value' by name: ['out_int32', 'out_string']"
    body = {"request_id": request_id, "value": {"out_string": ["a", "b"]}}
    assert "'value' of 'out_string' is ['a', 'b']; send numbers" in refused(service.client, path, json=body)
    body["value"] = {"out_int32": [1, 3]}
    assert service.client.post(path, json=body).status_code == 200


def test_unknown_ids_and_models(service):
    body = {"request_id": "none", "label": "dark"}
    message = refused(service.client, FEEDBACK, code=404, json=body)
    assert message == "request 'none' is not recorded: it was not in the sample, is deleted, or never existed"
    message = refused(service.client, "/v1/models/unrecorded:feedback", code=404, json=body)
    assert message.startswith("requests to model 'unrecorded' are not recorded; serving.json of the model switches")
    assert "'nothing'" in refused(service.client, "/v1/models/nothing:feedback", code=404, json=body)
    request_id = asked(service)
    message = refused(service.client, "/v1/models/rule:feedback", code=404, json={**body, "request_id": request_id})
    assert "is not recorded" in message, "the id of another model"


def test_an_id_expires(service, state):
    request_id = asked(service, "/v1/models/brief:predict", **IMAGE)
    body = {"request_id": request_id, "label": "dark"}
    time.sleep(1.1)
    message = refused(service.client, "/v1/models/brief:feedback", code=404, json=body)
    assert message == f"request '{request_id}' was answered 1 s ago; the right answer is accepted within 1 s"


def test_the_path_is_that_of_tensorflow_serving_in_any_case_and_only_with_post(service):
    request_id = asked(service)
    body = {"request_id": request_id, "label": "dark"}
    assert service.client.post("/V1/Models/brightness:FeedBack", json=body).status_code == 200
    reply = service.client.get(FEEDBACK)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert "Malformed request" in refused(service.client, "/v1/models/brightness/versions/1:feedback", json=body)


def test_a_model_that_was_unloaded_or_sleeps_is_loaded_for_its_labels(tmp_path, start):
    state = {"ATELIER_STATE_DIR": str(tmp_path / "state")}
    switch(write_brightness_model(tmp_path / "models"), {})
    first = start(tmp_path / "models", environment=state)
    request_id = asked(first)
    first.stop()
    second = start(tmp_path / "models", environment={**state, "ATELIER_LOAD_MODELS": "on-request"})
    body = {"request_id": request_id, "label": "dark"}
    assert second.client.post(FEEDBACK, json=body).status_code == 200


def test_with_api_keys_it_needs_the_scope_feedback_or_an_administrator(tmp_path, start):
    switch(write_brightness_model(tmp_path / "models"), {})
    path = tmp_path / "keys.json"
    keys = {scope: new_key(path, f"a {scope}".replace(" ", "-"), "--scopes", scope) for scope in ("infer", "feedback")}
    keys["admin"], keys["both"] = (
        new_key(path, name, "--scopes", scopes) for name, scopes in (("b", "admin"), ("c", "infer,feedback"))
    )
    environment = {
        "ATELIER_STATE_DIR": str(tmp_path / "state"),
        "ATELIER_API_KEYS_FILE": str(path),
        "ATELIER_ADMIN_KEY": ADMIN_KEY,
    }
    service = start(tmp_path / "models", environment=environment)

    def ask():
        headers = {**IMAGE["headers"], "Authorization": f"Bearer {keys['infer']}"}
        return asked(service, content=IMAGE["content"], headers=headers)

    for key in (keys["feedback"], keys["admin"], keys["both"], ADMIN_KEY):
        given = service.client.post(
            FEEDBACK, json={"request_id": ask(), "label": "dark"}, headers={"Authorization": f"Bearer {key}"}
        )
        assert given.status_code == 200, given.text
    body = {"request_id": ask(), "label": "dark"}
    assert "an API key is required" in refused(service.client, FEEDBACK, code=401, json=body)
    message = refused(service.client, FEEDBACK, code=403, json=body, headers={"x-api-key": keys["infer"]})
    assert message == "the API key 'a-infer' is for infer; 'feedback' is required"
    message = refused(service.client, FEEDBACK, code=401, json=body, headers={"x-api-key": "wrong"})
    assert message == "the API key is unknown or was withdrawn"
    load = service.client.post("/v2/repository/models/brightness/load", headers={"x-api-key": keys["feedback"]})
    assert load.status_code == 403
    assert service.client.post(PREDICT, **IMAGE | {"headers": {"x-api-key": keys["feedback"]}}).status_code == 403


def test_without_keys_only_this_machine_may_send_it(tmp_path, start):
    switch(write_brightness_model(tmp_path / "models"), {})
    service = start(
        tmp_path / "models", "--host", "0.0.0.0", environment={"ATELIER_STATE_DIR": str(tmp_path / "state")}
    )
    port = service.url.rpartition(":")[2]
    service.client.base_url = f"http://{address_of_this_machine()}:{port}"
    message = refused(service.client, FEEDBACK, code=403, json={"request_id": asked(service), "label": "dark"})
    assert "is closed, because the service listens beyond this machine and has no admin key" in message


def test_a_page_of_another_site_may_not_send_it(service):
    body = {"request_id": asked(service), "label": "dark"}
    headers = {"Origin": "http://example.org", "Sec-Fetch-Site": "cross-site"}
    assert refused(service.client, FEEDBACK, code=403, json=body, headers=headers)
