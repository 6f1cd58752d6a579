"""What the service records over each protocol, when it is switched on and off, and what it survives."""

import signal
import time

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.http as triton_http

from app.contract.recordings.directory import RecordingDirectory
from tests.support.dtype_rows import ROWS
from tests.support.grpc_requests import pixels
from tests.support.grpc_service import GrpcService
from tests.support.http_requests import refused
from tests.support.images import png
from tests.support.recordings import recorded, switch
from tests.support.service import Service, running, starting, wait_until
from tests.support.tfs import TfsClient
from tests.support.tiny_inputs import PIXELS, expected
from tests.support.tiny_models import (
    SIDE,
    write_brightness_model,
    write_rule_model,
    write_types_model,
    write_verse_model,
    write_words_model,
)
from tests.support.workers import Workers

PREDICT, CLASSIFY, FEEDBACK = (f"/v1/models/brightness:{verb}" for verb in ("predict", "classify", "feedback"))
INFER = "/v2/models/brightness/infer"
OCTETS = {"Content-Type": "application/octet-stream"}
ROW = PIXELS[0]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def service(tmp_path_factory, state):
    """A service that records every request to all its models; tests do not change that."""
    models = tmp_path_factory.mktemp("recorded-models")
    for write in (write_brightness_model, write_words_model, write_rule_model, write_types_model, write_verse_model):
        switch(write(models), {})
    yield from running(GrpcService(models, environment={"ATELIER_STATE_DIR": str(state)}))


@pytest.fixture
def start():
    """Starts services, and checks that they exit with 0."""
    yield from starting()


def of_request(state, request_id, model="brightness", count=1):
    """The recorded instances of a request, once they are in the file."""

    def found():
        return [each for each in recorded(state, model) if each.request_id == request_id]

    wait_until(lambda: len(found()) == count)
    return found()


def ask(service, path, **body):
    """The id of a request that is answered."""
    reply = service.client.post(path, **body)
    assert reply.status_code == 200, reply.text
    return reply.headers["x-request-id"]


def v2(values, **more):
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": list(values.shape), "data": values.tolist()}
    return {"inputs": [tensor], **more}


BODIES = {
    "v1:predict JSON": (PREDICT, {"json": {"instances": [ROW.tolist()]}}),
    "v1:predict columns": (PREDICT, {"json": {"inputs": [ROW.tolist()]}}),
    "v1:predict bytes": (PREDICT, {"content": ROW.tobytes(), "headers": OCTETS}),
    "v1:predict of a version": ("/v1/models/brightness/versions/1:predict", {"json": {"instances": [ROW.tolist()]}}),
    "v1:classify image": (CLASSIFY, {"content": png(ROW), "headers": {"Content-Type": "image/png"}}),
    "v2:infer JSON": (INFER, {"json": v2(ROW[np.newaxis])}),
    "v2:infer bytes": (INFER, {"content": ROW.tobytes(), "headers": {"Inference-Header-Content-Length": "0"}}),
}


@pytest.mark.parametrize("form", BODIES)
def test_a_request_over_http_is_recorded_as_the_model_received_it_however_it_was_sent(service, state, form):
    path, body = BODIES[form]
    for _ in range(4):  # the head of the last one is known by then
        request_id = ask(service, path, **body)
    [found] = of_request(state, request_id)
    assert found.inputs["pixels"].dtype == np.uint8
    assert found.inputs["pixels"].tolist() == ROW.tolist()
    np.testing.assert_allclose(found.outputs["probabilities"], expected(PIXELS[:1])[0], atol=1e-6)
    assert (found.model, found.version, found.protocol) == ("brightness", 1, form.partition(" ")[0])
    assert (found.label, found.instance, found.instances) == (("dark", "bright")[int(ROW.mean() > 127.5)], 0, 1)
    assert found.score == found.outputs["probabilities"].max()
    assert abs(time.time() - found.time_s) < 60


def test_each_instance_of_a_request_has_a_line(service, state):
    request_id = ask(service, INFER, json=v2(PIXELS))
    found = of_request(state, request_id, count=len(PIXELS))
    assert [each.instance for each in found] == list(range(len(PIXELS)))
    assert {each.instances for each in found} == {len(PIXELS)}
    assert [each.inputs["pixels"].tolist() for each in found] == PIXELS.tolist()
    np.testing.assert_allclose([each.outputs["probabilities"] for each in found], expected(PIXELS), atol=1e-6)


def test_binary_tensors_of_triton(service, state):
    client = triton_http.InferenceServerClient(service.url.removeprefix("http://"))
    given = triton_http.InferInput("pixels", [1, SIDE, SIDE], "UINT8")
    given.set_data_from_numpy(PIXELS[1:2])
    client.infer("brightness", [given], headers={"X-Request-ID": "triton-1"})
    [found] = of_request(state, "triton-1")
    assert (found.inputs["pixels"].tolist(), found.protocol) == (PIXELS[1].tolist(), "v2:infer")


def test_grpc_of_both_protocols(service, state):
    for number in range(4):
        service.triton.infer("brightness", pixels(PIXELS[2:3]), headers={"x-request-id": f"grpc-{number}"})
        [found] = of_request(state, f"grpc-{number}")
        assert (found.inputs["pixels"].tolist(), found.protocol) == (PIXELS[2].tolist(), "grpc:infer")
    with triton.InferenceServerClient(f"127.0.0.1:{service.grpc_port}") as client:
        client.start_stream(lambda result, error: None, headers={"x-request-id": "stream"})
        client.async_stream_infer("brightness", pixels(PIXELS[3:4]))
        [found] = of_request(state, "stream")
        assert found.protocol == "grpc:stream_infer"


def test_a_generated_text_is_recorded_whole_and_takes_the_right_one(service, state):
    asked = {"text_input": "a good", "parameters": {"max_tokens": 5, "seed": 7}}
    whole = service.client.post("/v2/models/verse/generate", json=asked)
    text = whole.json()["text_output"]
    [found] = of_request(state, whole.headers["x-request-id"], "verse")
    assert (found.inputs, found.outputs) == ({"token_ids": "a good"}, {"text": text})
    assert (found.protocol, found.instances, found.label) == ("v2:generate", 1, None)
    streamed = ask(service, "/v2/models/verse/generate_stream", json=asked)
    [found] = of_request(state, streamed, "verse")
    assert (found.outputs, found.protocol) == ({"text": text}, "v2:generate_stream")
    given = triton.InferInput("text_input", [1], "BYTES")
    given.set_data_from_numpy(np.array(["a good"], object))
    headers = {"x-request-id": "grpc-text"}
    service.triton.infer("verse", [given], headers=headers, parameters={"max_tokens": 5, "seed": 7})
    [found] = of_request(state, "grpc-text", "verse")
    assert (found.outputs, found.protocol) == ({"text": text}, "grpc:infer")
    right = {"request_id": streamed, "text": "film"}
    assert service.client.post("/v1/models/verse:feedback", json=right).status_code == 200
    [found] = of_request(state, streamed, "verse")
    assert found.feedback.value == "film"
    pictures = ask(service, PREDICT, json={"instances": [ROW.tolist()]})
    error = refused(service.client, FEEDBACK, json={"request_id": pictures, "text": "film"})
    assert "does not generate text; send 'label' or 'value' in place of 'text'" in error


def test_texts_are_recorded_as_texts_and_token_ids_as_numbers(service, state):
    words = "/v1/models/words:predict"
    plain = ask(service, words, content="a good film", headers={"Content-Type": "text/plain"})
    in_json = ask(service, words, json={"instances": ["bad", "ein gutes ü\n"]})
    ids = ask(service, words, json={"instances": [[2, 3]]})
    assert [each.inputs for each in of_request(state, plain, "words")] == [{"token_ids": "a good film"}]
    assert [each.inputs["token_ids"] for each in of_request(state, in_json, "words", 2)] == ["bad", "ein gutes ü\n"]
    assert of_request(state, ids, "words")[0].inputs["token_ids"].tolist() == [2, 3]


def test_every_dtype_is_recorded_without_loss(service, state):
    client = TfsClient(service.grpc_port)
    inputs = {f"in_{dtype}": values for dtype, values in ROWS.items()}
    client.predict(inputs, "types", options={"metadata": (("x-request-id", "every"),)})
    client.close()
    found = of_request(state, "every", "types", 2)
    assert found[0].protocol == "grpc:predict"
    for name, values in inputs.items():
        for each in found:
            assert each.inputs[name].dtype == values.dtype
            assert each.inputs[name].tolist() == values[each.instance].tolist(), name
            assert each.outputs[f"out_{name[3:]}"].tolist() == values[each.instance].tolist(), name


def test_a_refused_request_is_not_recorded(service, state):
    before = len(recorded(state, "rule"))
    refused = service.client.post("/v1/models/rule:predict", json={"instances": [["x"]]})
    assert refused.status_code == 400
    request_id = ask(service, "/v1/models/rule:predict", json={"instances": [[2.5]]})
    [found] = of_request(state, request_id, "rule")
    assert (found.label, found.score, found.outputs["values"].tolist()) == (None, None, [4.0])
    assert len(recorded(state, "rule")) == before + 1


def test_nothing_is_written_below_the_models_directory(service):
    assert not [path for path in service.models.rglob("*") if path.suffix in {".jsonl", ".sqlite3"}]


def test_recording_is_switched_on_and_off_without_a_restart_for_the_right_model_only(tmp_path, start):
    models, state = tmp_path / "models", tmp_path / "state"
    version = write_brightness_model(models)
    write_brightness_model(models, name="other")
    service = start(models, environment={"ATELIER_STATE_DIR": str(state)})
    body = {"content": ROW.tobytes(), "headers": OCTETS}

    def ask_both():
        ask(service, "/v1/models/other:predict", **body)
        return ask(service, PREDICT, **body)

    for _ in range(5):  # the heads are known
        ask_both()
    assert not state.exists()
    switch(version, {"sample": 1.0})
    service.wait_for_log("model brightness: 100 % of the requests are recorded in")
    request_id = ask_both()
    assert of_request(state, request_id)
    switch(version, {"sample": 0.0})
    service.wait_for_log("model brightness: 0 % of the requests are recorded in")
    ask_both()
    switch(version, None)
    service.wait_for_log("model brightness: requests are no longer recorded")
    ask_both()
    switch(version, {"sample": 1.0, "max_files": 2})
    wait_until(lambda: service.log.count("100 % of the requests") == 2)
    last = ask_both()
    assert of_request(state, last)
    assert [each.request_id for each in recorded(state)] == [request_id, last]
    assert [path.name for path in (state / "recordings").iterdir()] == ["brightness"]
    assert service.log.count("model brightness version 1 ready") == 1, "no version is loaded again for it"


def test_the_answers_of_a_canary_are_recorded_with_its_version(tmp_path, start):
    state = tmp_path / "state"
    write_brightness_model(tmp_path / "models")
    version = write_brightness_model(tmp_path / "models", version=2)
    canary = {"version_labels": {"stable": 1, "canary": 2}, "rollout": {"canary": {"percent": 100.0}}}
    switch(version, {}, **canary)
    service = start(tmp_path / "models", environment={"ATELIER_STATE_DIR": str(state)})
    request_id = ask(service, PREDICT, content=ROW.tobytes(), headers=OCTETS)
    stable = ask(service, "/v1/models/brightness/labels/stable:predict", content=ROW.tobytes(), headers=OCTETS)
    assert of_request(state, request_id)[0].version == 2
    assert of_request(state, stable)[0].version == 1
    body = {"request_id": request_id, "label": "dark"}
    assert service.client.post(FEEDBACK, json=body).json()["version"] == 2


def test_a_share_is_recorded(tmp_path, start):
    state = tmp_path / "state"
    switch(write_brightness_model(tmp_path / "models"), {"sample": 0.5})
    service = start(tmp_path / "models", environment={"ATELIER_STATE_DIR": str(state)})
    for _ in range(200):
        ask(service, PREDICT, content=ROW.tobytes(), headers=OCTETS)
    service.stop()
    assert 60 <= len(recorded(state)) <= 140, "six standard deviations"


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        ({"sample": 1.5}, "recording.sample is 1.5: Input should be less than or equal to 1"),
        ({"rate": 1}, "unknown key 'rate' in recording; known: sample, max_file_mb, max_files, feedback_within_s"),
        ({"max_file_mb": 0}, "recording.max_file_mb is 0: Input should be greater than or equal to 1"),
    ],
)
def test_a_mistake_in_the_settings_names_the_key_and_the_model_serves_as_before(tmp_path, start, recording, message):
    version = write_brightness_model(tmp_path / "models")
    service = start(tmp_path / "models", environment={"ATELIER_STATE_DIR": str(tmp_path / "state")})
    switch(version, recording)
    service.wait_for_log(message)
    ask(service, PREDICT, content=ROW.tobytes(), headers=OCTETS)
    assert not (tmp_path / "state").exists()


def test_a_killed_process_leaves_files_that_can_be_read_and_continued(tmp_path, start):
    models, state = tmp_path / "models", tmp_path / "state"
    switch(write_brightness_model(models), {})
    environment = {"ATELIER_STATE_DIR": str(state)}
    killed = Service(models, environment=environment)
    try:
        asked = [ask(killed, INFER, json=v2(np.tile(PIXELS, (40, 1, 1)))) for _ in range(3)]
        wait_until(lambda: len(recorded(state)) > 200)
    finally:
        assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
    [file] = (state / "recordings" / "brightness").glob("*1.jsonl")
    with file.open("ab") as torn:
        torn.write(b'{"request_id":"torn","inst')
    whole = [each for each in recorded(state) if each.request_id == asked[0]]
    assert [each.instance for each in whole] == list(range(200))
    service = start(models, environment=environment)
    last = ask(service, INFER, json=v2(PIXELS[:1]))
    assert of_request(state, last)
    for request_id in (asked[0], last):
        body = {"request_id": request_id, "instance": 0, "label": "dark"}
        assert service.client.post(FEEDBACK, json=body).status_code == 200


def test_a_directory_that_cannot_be_written_fails_no_request(tmp_path, start):
    (tmp_path / "state").write_bytes(b"")  # a file: root may write to any directory
    switch(write_brightness_model(tmp_path / "models"), {})
    service = start(tmp_path / "models", environment={"ATELIER_STATE_DIR": str(tmp_path / "state")})
    for _ in range(5):
        ask(service, PREDICT, content=ROW.tobytes(), headers=OCTETS)
    wait_until(lambda: service.metric("atelier_recording_dropped_rows_total", model="brightness", reason="disk") == 5)
    assert service.log.count("model brightness: requests are not recorded") == 1
    assert service.metric("atelier_recorded_rows_total", model="brightness") == 0


def test_a_process_that_holds_the_lock_delays_no_reply_and_feedback_says_so(tmp_path, start):
    state = tmp_path / "state"
    switch(write_brightness_model(tmp_path / "models"), {})
    service = start(tmp_path / "models", environment={"ATELIER_STATE_DIR": str(state)})
    request_id = ask(service, PREDICT, content=ROW.tobytes(), headers=OCTETS)
    assert of_request(state, request_id)
    body = {"request_id": request_id, "label": "dark"}
    with RecordingDirectory.of(state, "brightness").locked():
        for _ in range(50):
            ask(service, PREDICT, content=ROW.tobytes(), headers=OCTETS)
        message = refused(service.client, FEEDBACK, code=503, json=body)
    assert message == "the recordings cannot be read or written: another process does not give up its lock"
    assert service.client.post(FEEDBACK, json=body).status_code == 200
    assert of_request(state, ask(service, PREDICT, content=ROW.tobytes(), headers=OCTETS))


def test_workers_write_the_same_files_and_each_finds_all_ids(tmp_path, start):
    state = tmp_path / "state"
    switch(write_brightness_model(tmp_path / "models"), {"max_file_mb": 1, "max_files": 1})
    service = start(tmp_path / "models", "--workers", "2", environment={"ATELIER_STATE_DIR": str(state)})
    workers = Workers(service)
    try:
        asked = workers.ask_all(ask_anyone)
        wait_until(lambda: len(recorded(state)) == len(asked))
        assert sorted(each.request_id for each in recorded(state)) == sorted(asked)
        assert workers.metric("atelier_recorded_rows_total", model="brightness") == len(asked)
        given = [
            workers.client.post(FEEDBACK, json={"request_id": each, "label": "dark"}).status_code
            for each in [*asked, *asked]
        ]
        assert given == [200] * len(asked) + [409] * len(asked)
        assert all(each.feedback.label == "dark" for each in recorded(state))
        wait_until(lambda: workers.metric("atelier_feedback_total", model="brightness") == len(asked))
    finally:
        workers.close()


def ask_anyone(client):
    reply = client.post(PREDICT, content=ROW.tobytes(), headers=OCTETS)
    assert reply.status_code == 200
    return reply.headers["x-request-id"]


def test_files_are_rotated_and_bounded(tmp_path, start):
    state = tmp_path / "state"
    switch(write_brightness_model(tmp_path / "models"), {"max_file_mb": 1, "max_files": 2})
    service = start(tmp_path / "models", environment={"ATELIER_STATE_DIR": str(state)})
    many = np.tile(PIXELS, (400, 1, 1))
    for _ in range(6):  # 0.8 MB each
        last = ask(service, INFER, json=v2(many))
    wait_until(lambda: service.metric("atelier_recorded_rows_total", model="brightness") == 6 * len(many))
    sizes = {path.name: path.stat().st_size for path in (state / "recordings" / "brightness").glob("*.jsonl")}
    assert len(sizes) == 2
    assert "0000000001.jsonl" not in sizes
    assert max(sizes.values()) <= 2**20
    assert recorded(state)[-1].request_id == last
