"""``:explain`` of a running service: what is known to matter gets the scores, what breaks a rule a sentence."""

import base64
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from app.explain.explainer import MOST_AT_ONCE
from tests.support.bare_connection import last_replies, under_way
from tests.support.bare_models import write_graph
from tests.support.baselines import write_brightness_baseline
from tests.support.grpc_requests import pixels, refusal, tensor
from tests.support.grpc_service import GrpcService
from tests.support.service import ROOT, running, sample, wait_until
from tests.support.tiny_models import (
    SIDE,
    write_brightness_model,
    write_slow_model,
    write_verse_model,
    write_words_model,
)
from training.datasets.drawn.synthetic import fashion_images

CORNER = (2, 3, 6, 7)
"""Pixels that count: two rows and two columns at the top right."""
FACTORS = np.array([2.0, -1.0, 0.0], np.float32)
BRIGHT = [[129] * SIDE for _ in range(SIDE)]
GRID = {"grid": SIDE}
NUMBERS = (TensorProto.FLOAT, ["rows"])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    write_brightness_model(models, name="corner", counts=CORNER)
    write_brightness_baseline(write_brightness_model(models))
    write_brightness_baseline(write_brightness_model(models, name="sampled"))
    write_words_model(models)
    write_verse_model(models)
    nodes = [helper.make_node("MatMul", ["x", "factors"], ["y"])]
    inputs, outputs = [("x", TensorProto.FLOAT, ["rows", 3])], [("y", TensorProto.FLOAT, ["rows", 1])]
    write_graph(models, "line", nodes, inputs, outputs, {"factors": FACTORS[:, None]})
    pair = [helper.make_node("Concat", ["y", "y"], ["both"], axis=1)]
    write_graph(
        models, "pair", nodes + pair, inputs, [("both", TensorProto.FLOAT, ["rows", 2])], {"factors": FACTORS[:, None]}
    )
    amounts = helper.make_node(
        "LabelEncoder",
        ["city"],
        ["amount"],
        domain="ai.onnx.ml",
        keys_strings=["Bern", "Basel"],
        values_floats=[3.0, 1.0],
        default_float=0.5,
    )
    write_graph(models, "city", [amounts], [("city", TensorProto.STRING, ["rows"])], [("amount", *NUMBERS)])
    read = helper.make_node("Cast", ["city"], ["amount"], to=TensorProto.FLOAT)
    write_graph(models, "read", [read], [("city", TensorProto.STRING, ["rows"])], [("amount", *NUMBERS)])
    inverse = helper.make_node("Reciprocal", ["x"], ["y"])
    write_graph(models, "inverse", [inverse], [("x", *NUMBERS)], [("y", *NUMBERS)])
    return models


@pytest.fixture(scope="module")
def service(models):
    yield from running(GrpcService(models, environment={"ATELIER_DRIFT_ROWS_PER_S": "1e6"}))


def explain(service, name, body, **headers):
    reply = service.client.post(f"/v1/models/{name}:explain", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()["explanations"]


def scores(explanation, parts):
    return np.array([part["score"] for part in explanation[parts]])


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_only_the_pixels_that_count_speak_for_an_image(service, method):
    [found] = explain(service, "corner", {"instances": [BRIGHT], "method": method, **GRID})
    values = scores(found, "regions")
    assert found["class"] == {"index": 1, "label": "bright"}
    assert base64.b64decode(found["pixels"]) == bytes(np.array(BRIGHT, np.uint8))
    assert (values[list(CORNER)] > 0.01).all()
    assert np.abs(np.delete(values, CORNER)).max() < 1e-6
    assert found["regions"][CORNER[0]].items() >= {"top": 0, "left": 2, "height": 1, "width": 1}.items()


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_only_the_words_that_count_speak_for_a_text(service, method):
    [found] = explain(service, "words", {"instances": ["Good film, bad!"], "method": method, "class": "positive"})
    assert [token["text"] for token in found["tokens"]] == ["good", "film", "bad", "!"]
    assert [token["unknown"] for token in found["tokens"]] == [False, False, False, True]
    good, film, bad, mark = scores(found, "tokens")
    assert good > 0.1
    assert bad < -0.1
    assert abs(film) < 1e-6
    assert abs(mark) < 1e-6


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_a_text_of_one_word_has_one_part(service, method):
    [found] = explain(service, "words", {"instances": ["good"], "method": method})
    np.testing.assert_allclose(scores(found, "tokens"), [found["value"] - found["baseline_value"]])


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_the_columns_of_a_linear_model_get_their_factor_times_their_value(service, method):
    row = [3.0, 5.0, 7.0]
    [found] = explain(service, "line", {"instances": [row], "method": method})
    np.testing.assert_allclose(scores(found, "columns"), FACTORS * row, atol=1e-5)
    assert [(each["name"], each["value"], each["hidden_as"]) for each in found["columns"]] == [
        ("x[0]", 3.0, 0.0),
        ("x[1]", 5.0, 0.0),
        ("x[2]", 7.0, 0.0),
    ]
    assert found["class"] is None
    assert found["flip"] is None


def test_shapley_values_sum_to_the_difference_from_the_baseline_and_state_their_error(service):
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE)).tolist()
    each = [
        explain(service, "brightness", {"instances": [image], "method": "shapley", "samples": samples, **GRID})[0]
        for samples in (4, 64)
    ]
    for found in each:
        difference = found["value"] - found["baseline_value"]
        np.testing.assert_allclose(scores(found, "regions").sum(), difference, atol=1e-9)
        assert found["sampling_error"] == max(region["error"] for region in found["regions"])
    assert each[1]["sampling_error"] < each[0]["sampling_error"]


def test_the_same_seed_gives_the_same_values(service):
    body = {"instances": [BRIGHT], "method": "shapley", "samples": 2, **GRID}
    first, second, other = (explain(service, "brightness", {**body, "seed": seed}) for seed in (1, 1, 2))
    assert first == second != other


def test_the_flip_is_the_smallest_set_of_parts_whose_hiding_changes_the_answer(service):
    [found] = explain(service, "words", {"instances": ["good good film"]})
    assert found["flip"]["parts"] == [0, 1]
    assert found["flip"]["class"]["label"] == "negative"
    assert explain(service, "words", {"instances": ["film"]})[0]["flip"] is None


def test_a_hidden_part_looks_as_in_the_training_data(service):
    assert explain(service, "corner", {"instances": [BRIGHT]})[0]["baseline"].startswith("grey 128 of 255")
    trained = explain(service, "brightness", {"instances": [BRIGHT]})[0]
    assert trained["baseline"] == "grey 119 of 255, as in the training data"


def test_several_instances_a_version_and_a_file(service):
    two = explain(service, "brightness/versions/1", {"instances": [BRIGHT, [[0] * SIDE] * SIDE]})
    assert [found["class"]["label"] for found in two] == ["bright", "dark"]
    picture = io.BytesIO()
    Image.fromarray(np.array(BRIGHT, np.uint8)).save(picture, "png")
    reply = service.client.post(
        "/v1/models/brightness:explain?method=occlusion&class=1",
        content=picture.getvalue(),
        headers={"Content-Type": "image/png"},
    )
    assert reply.json()["explanations"][0]["regions"] == two[0]["regions"]
    encoded = {"b64": base64.b64encode(picture.getvalue()).decode()}
    assert explain(service, "brightness", {"instances": [encoded]}) == explain(
        service, "brightness", {"instances": [BRIGHT]}
    )


def test_a_heat_map_is_orange_where_the_image_speaks_for_the_class_and_blue_where_against(service):
    for label, warm in (("bright", True), ("dark", False)):
        reply = service.client.post(
            f"/v1/models/corner:explain?grid={SIDE}&class={label}",
            json={"instances": [BRIGHT]},
            headers={"Accept": "image/png"},
        )
        assert reply.headers["content-type"] == "image/png"
        picture = np.array(Image.open(io.BytesIO(reply.content)).convert("RGB")).astype(int)
        assert min(picture.shape[:2]) >= 300
        red, _, blue = picture[5, -5]
        assert (red > blue + 50) if warm else (blue > red + 50)
        assert np.ptp(picture[-5, 5]) == 0  # grey: these pixels do not count


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json, image/png; q=0", "application/json"),
        ("image/PNG;q=0.5, */*;q=0.1", "image/png"),
        ("image/webp", "application/json"),
    ],
)
def test_a_heat_map_is_sent_to_those_who_accept_one(service, accept, kind):
    body = {"instances": [BRIGHT], **GRID}
    reply = service.client.post("/v1/models/corner:explain", json=body, headers={"Accept": accept})
    assert reply.headers["content-type"] == kind


@pytest.mark.parametrize(
    ("name", "body", "query", "message"),
    [
        ("brightness", {"method": "lime"}, "", "'method' is 'lime'; send one of occlusion, shapley, gradients"),
        ("brightness", {"class": 2}, "", "'class' is 2; model 'brightness' has classes 0 to 1"),
        ("brightness", {"class": "red"}, "", "'class' is 'red'; model 'brightness' has the labels dark, bright"),
        (
            "line",
            {"instances": [[1, 2, 3]], "class": "red"},
            "",
            "model 'line' has no labels: it answers with a number",
        ),
        ("brightness", {"class": 1.5}, "", "'class' is 1.5; send a label or the index of a class"),
        ("brightness", {"samples": 3}, "", "'samples' is 3; send an even number"),
        ("brightness", {"samples": 10**9}, "", "'samples' is 1000000000; send a whole number from 2 to 1000"),
        ("brightness", {"seed": -1}, "", "'seed' is -1; send a whole number from 0 to 4294967295"),
        ("brightness", {"grid": "9"}, "", "'grid' is '9'; send a whole number from 2 to 16"),
        ("brightness", {}, "?grid=17", "'grid' is 17; send a whole number from 2 to 16"),
        ("brightness", {}, "?methode=shapley", "query parameter 'methode' is unknown; :explain takes method, class"),
        ("words", {"instances": ["good"], "grid": 4}, "", "'grid' is 4, but model 'words' takes no images"),
        ("brightness", {"instances": [BRIGHT] * 17}, "", "17 instances; :explain takes at most 16 at a time"),
        ("brightness", {"instances": []}, "", "'instances' is empty"),
        ("brightness", {"instances": [[[1]]]}, "", "shape"),
        (
            "brightness",
            {"instances": [BRIGHT] * 16, "method": "shapley", "samples": 100},
            f"?grid={SIDE}",
            "take 25888 evaluations; at most 20000",
        ),
        ("verse", {"instances": ["the king"]}, "", "model 'verse' generates text; :explain takes models with classes"),
        ("pair", {"instances": [[1, 2, 3]]}, "", "neither classes nor one number"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_a_sentence(service, name, body, query, message):
    reply = service.client.post(f"/v1/models/{name}:explain{query}", json={"instances": [BRIGHT], **body})
    assert reply.status_code in {400, 413}
    assert message in reply.json()["error"]


@pytest.mark.parametrize(
    ("name", "instances", "message"),
    [
        ("words", ["good"], "model 'words' takes no images; ask for application/json in place of image/png"),
        ("brightness", [BRIGHT] * 2, "the request holds 2 instances; a heat map (Accept: image/png) shows one"),
    ],
)
def test_a_heat_map_of_anything_but_one_image_is_refused(service, name, instances, message):
    headers = {"Accept": "text/html, image/png;q=0.9"}
    reply = service.client.post(f"/v1/models/{name}:explain", json={"instances": instances}, headers=headers)
    assert (reply.status_code, reply.json()["error"]) == (400, message)


def test_a_column_of_one_string_is_explained(service):
    [found] = explain(service, "city", {"instances": ["Bern"]})
    assert (found["value"], found["baseline_value"]) == (3, 0.5)
    assert found["columns"] == [{"name": "city", "value": "Bern", "hidden_as": "", "score": 2.5}]


@pytest.mark.parametrize(
    ("name", "instance", "sentence"),
    [
        ("read", "2.5", "model 'read' fails where parts are hidden (an empty string): "),
        (
            "inverse",
            2.0,
            "model 'inverse' answers this instance, or a form of it with parts hidden, with infinity or NaN",
        ),
    ],
)
def test_a_model_that_cannot_answer_without_a_part_is_refused_in_words(service, name, instance, sentence):
    reply = service.client.post(f"/v1/models/{name}:explain", json={"instances": [instance]})
    assert reply.status_code == 400
    assert reply.json()["error"].startswith(sentence)


def test_the_same_over_grpc(service):
    image = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE)).astype(np.uint8)
    asked = {"class": "dark", "samples": 4, "seed": 7, **GRID}
    expected = explain(service, "brightness", {"instances": image.tolist(), "method": "shapley", **asked})
    infer = service.triton.infer
    plain = infer("brightness", pixels(image)).as_numpy("probabilities")
    for _ in range(2):  # the second message is one whose form is known
        reply = infer("brightness", pixels(image), parameters={"explain": "shapley", **asked})
        assert [json.loads(text) for text in reply.as_numpy("explanation")] == expected
        assert np.array_equal(infer("brightness", pixels(image)).as_numpy("probabilities"), plain)
    text = [tensor("token_ids", np.array([["good film"]], object), "BYTES")]
    reply = infer("words", text, parameters={"explain": "occlusion"})
    assert [json.loads(reply.as_numpy("explanation")[0])] == explain(service, "words", {"instances": ["good film"]})
    code, message = refusal(infer, "brightness", pixels(image), parameters={"explain": "lime"})
    assert (code, message) == ("INVALID_ARGUMENT", "'method' is 'lime'; send one of occlusion, shapley, gradients")


def test_explained_instances_are_no_drift_and_count_as_one_request(service):
    def counted():
        return sample(service.client, "atelier_requests_total", model="sampled", protocol="v1:explain", code="200")

    before = counted()
    for _ in range(5):
        explain(service, "sampled", {"instances": [BRIGHT], **GRID})
    assert counted() == before + 5
    assert sample(service.client, "atelier_drift_rows", model="sampled", kind="input") == 0
    assert sample(service.client, "atelier_request_seconds_count", model="sampled") == 0  # no answers of the version
    service.triton.infer("sampled", pixels(np.array([BRIGHT], np.uint8)), parameters={"explain": "occlusion", **GRID})
    assert sample(service.client, "atelier_requests_total", model="sampled", protocol="grpc:explain", code="200") == 1
    assert sample(service.client, "atelier_request_seconds_count", model="sampled") == 0
    service.client.post("/v1/models/sampled:predict", json={"instances": [BRIGHT]}).raise_for_status()
    wait_until(lambda: sample(service.client, "atelier_drift_rows", model="sampled", kind="input") == 1)


def test_predictions_beside_explanations_are_the_same(service):
    body = {"instances": [BRIGHT]}
    expected = service.client.post("/v1/models/brightness:predict", json=body).json()
    stop, answers = threading.Event(), []

    def predict():
        with httpx.Client(base_url=service.url) as client:
            while not stop.is_set():
                answers.append(client.post("/v1/models/brightness:predict", json=body).json())

    clients = [threading.Thread(target=predict) for _ in range(4)]
    for client in clients:
        client.start()
    alone = explain(service, "corner", {**body, **GRID})
    try:
        for _ in range(20):
            assert explain(service, "corner", {**body, **GRID}) == alone
            explain(service, "brightness", {**body, "method": "shapley", **GRID})
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert len(answers) > 20
    assert all(answer == expected for answer in answers)


@pytest.fixture
def slow(start, tmp_path):
    """A model whose instances take long, and of which a request may take 0.3 s."""
    write_slow_model(tmp_path)
    policy = {"batching": {"default_timeout_ms": 300}}
    (tmp_path / "slow/serving.json").write_text(json.dumps(policy))
    return start(tmp_path)


def test_an_explanation_that_takes_too_long_ends_and_only_so_many_wait(slow):
    body = {"instances": [1]}

    def ask(_):
        return slow.client.post("/v1/models/slow:explain", json=body, timeout=60)

    with ThreadPoolExecutor(MOST_AT_ONCE + 8) as pool:
        replies = list(pool.map(ask, range(MOST_AT_ONCE + 8)))
    codes = [reply.status_code for reply in replies]
    assert set(codes) <= {429, 503, 504}
    late = [reply.json()["error"] for reply in replies if reply.status_code == 504]
    assert late
    assert all(" evaluations were made within the timeout of 300 ms; " in message for message in late)


def test_of_many_that_ask_at_once_those_that_came_first_are_explained(start, tmp_path):
    """Of the 32, about a quarter has time."""
    one = {"instances": [1]}
    write_slow_model(tmp_path, multiplications=4)
    alone = start(tmp_path)
    began = time.monotonic()
    assert alone.client.post("/v1/models/slow:explain", json=one, timeout=60).status_code == 200
    timeout_ms = round(8_000 * (time.monotonic() - began))
    alone.stop()
    (tmp_path / "slow/serving.json").write_text(json.dumps({"batching": {"default_timeout_ms": timeout_ms}}))
    service = start(tmp_path)
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        asked = [
            pool.submit(service.client.post, "/v1/models/slow:explain", json=one, timeout=60)
            for _ in range(MOST_AT_ONCE)
        ]
        codes = [each.result().status_code for each in asked]
    assert set(codes) <= {200, 429, 503, 504}
    assert codes.count(200)


def test_an_explanation_ends_when_its_version_is_unloaded_or_the_service_stops(start, tmp_path):
    write_slow_model(tmp_path, multiplications=8)
    service = start(tmp_path)

    def begin():
        lines = under_way(service, "/v1/models/slow:explain", {"instances": [1] * 16}, times=1)
        wait_until(lambda: sample(service.client, "atelier_batch_seconds_count", model="slow") > 1)
        return lines

    lines = begin()
    assert service.client.post("/v2/repository/models/slow/unload").status_code == 200
    gone = "model 'slow' version 1 was unloaded before this request was answered; try again"
    assert last_replies(lines) == [(503, {"error": gone})]
    assert service.client.post("/v2/repository/models/slow/load").status_code == 200
    lines = begin()
    assert service.stop() == 0
    assert last_replies(lines) == [(503, {"error": "the service shut down before this request was answered"})]


def test_explanations_neither_count_for_a_canary_nor_halt_it(start, tmp_path):
    for version in (1, 2):
        write_slow_model(tmp_path, version=version)
    rollout = {"canary": {"percent": 50}, "rollback": {"max_error_rate": 0.01, "min_requests": 1}}
    labels = {"stable": 1, "canary": 2}
    policy = {"version_labels": labels, "rollout": rollout, "batching": {"default_timeout_ms": 1}}
    (tmp_path / "slow/serving.json").write_text(json.dumps(policy))
    service = start(tmp_path)
    for number in range(20):
        reply = service.client.post("/v1/models/slow:explain", json={"instances": [1]}, headers={"x-user": str(number)})
        assert reply.status_code in {503, 504}
    shown = service.client.get("/v2/models/slow/shadow").json()
    assert (shown["state"], shown["requests"]) == ("running", {"count": 0, "errors": 0})


def test_an_explanation_that_waits_for_a_busy_model_holds_up_no_other_model(start, tmp_path):
    write_slow_model(tmp_path, multiplications=24)
    write_brightness_model(tmp_path)
    service = start(tmp_path)
    # The first call is expected to be short, and runs on the event loop; the next ones are known to take long.
    service.client.post("/v1/models/slow:predict", json={"instances": [1]}).raise_for_status()
    with ThreadPoolExecutor(2) as pool:
        busy = pool.submit(service.client.post, "/v1/models/slow:predict", json={"instances": [1]}, timeout=60)
        waiting = pool.submit(service.client.post, "/v1/models/slow:explain", json={"instances": [0]}, timeout=60)
        explain(service, "brightness", {"instances": [BRIGHT]})
        assert not busy.done()
        assert busy.result().status_code == 200
        assert waiting.result().status_code == 200


def test_deleting_and_inserting_by_score_beats_a_random_order_on_the_published_network(start):
    """Source of both curves: Petsiuk, Das and Saenko, RISE, arXiv:1806.07421, section 4.1."""
    service = start(ROOT / "models", "--load-models", "on-request")
    garments, _ = fashion_images(4, seed=3)
    found = explain(service, "fashion-mnist-cnn", {"instances": garments.tolist(), "method": "shapley", "samples": 10})
    random = np.random.default_rng(0)
    better = []
    for image, each in zip(garments, found, strict=True):
        order = np.argsort(-scores(each, "regions"))
        others = [random.permutation(order) for _ in range(3)]
        curves = [curve(service, image, each, one) for one in (order, *others)]
        deletion, insertion = np.array(curves).T
        better.append((deletion[1:].mean() - deletion[0], insertion[0] - insertion[1:].mean()))
    means = np.mean(better, axis=0)
    assert (means > 0.1).all(), means


def curve(service, image, explanation, order):
    """Mean score while parts are deleted in an order, and while they are inserted in it."""
    target, steps = explanation["class"]["index"], range(0, len(order) + 1, 4)
    images = []
    for keep in (False, True):
        for step in steps:
            changed = np.zeros_like(image) if keep else image.copy()
            for part in order[:step]:
                region = explanation["regions"][part]
                box = np.s_[
                    region["top"] : region["top"] + region["height"], region["left"] : region["left"] + region["width"]
                ]
                changed[box] = image[box] if keep else 0
            images.append(changed.tolist())
    answers = service.client.post("/v1/models/fashion-mnist-cnn:predict", json={"instances": images}).json()
    values = np.array(answers["predictions"])[:, target].reshape(2, -1)
    return values.mean(axis=1)
