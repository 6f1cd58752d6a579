"""``:explain`` by integrated gradients, of versions that TensorFlow serves."""

import json
import os
import shutil
import signal

import numpy as np
import pytest

from app.errors import BackendFailed
from app.runtime.engines.gradient_process import GradientProcess
from tests.support.bare_connection import last_replies, under_way
from tests.support.grpc_requests import tensor
from tests.support.grpc_service import GrpcService
from tests.support.processes import is_running, saved_model_processes
from tests.support.saved_models import spec, tensorflow, write_saved_model
from tests.support.service import ROOT, running, wait_until
from tests.support.tiny_models import write_brightness_model
from training.datasets.drawn.synthetic import fashion_images

TEXTS, IMAGES = "imdb-sentiment-lstm", "fashion-mnist-cnn"
FACTORS = [2.0, -1.0, 0.0]
IMAGES_DRAWN = fashion_images(10, seed=5)[0]
SENTENCE = "A wonderful film with a bad end"


def write_line(directory):
    """y = 2 a - b."""
    tf = tensorflow()
    factors = tf.constant(FACTORS)
    return write_saved_model(
        directory, {"serving_default": (lambda x: {"y": tf.linalg.matvec(x, factors)}, {"x": spec([None, 3])})}
    )


def write_steps(directory):
    """A number that is rounded before anything is computed of it: whole numbers have no gradient."""
    tf = tensorflow()
    return write_saved_model(
        directory,
        {"serving_default": (lambda x: {"y": tf.reduce_sum(x, axis=1) // 2}, {"x": spec([None, 3], "int32")})},
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    for name in (TEXTS, IMAGES):
        version = max((ROOT / "models" / name).glob("[0-9]*"), key=lambda path: int(path.name))
        shutil.copytree(version, models / name / "1")
        (models / name / "serving.json").write_text('{"backend": "savedmodel"}')
    write_line(models / "line" / "1")
    write_steps(models / "steps" / "1")
    write_brightness_model(models)
    return models


@pytest.fixture(scope="module")
def service(models):
    yield from running(GrpcService(models))


def explain(service, name, instance, **options):
    body = {"instances": [instance], "method": "gradients", **options}
    reply = service.client.post(f"/v1/models/{name}:explain", json=body)
    assert reply.status_code == 200, reply.text
    [found] = reply.json()["explanations"]
    return found


def scores(found, parts):
    return np.array([part["score"] for part in found[parts]])


def test_of_a_line_each_column_gets_its_factor_times_its_value(service):
    found = explain(service, "line", [3.0, 2.0, 1.0])
    assert scores(found, "columns") == pytest.approx([6, -2, 0], abs=1e-5)
    assert found["sampling_error"] < 1e-5


@pytest.mark.parametrize("which", range(3))
def test_the_scores_of_an_image_add_up(service, which):
    found = explain(service, IMAGES, IMAGES_DRAWN[which].tolist())
    change = found["value"] - found["baseline_value"]
    assert found["sampling_error"] == pytest.approx(abs(change - scores(found, "regions").sum()), abs=1e-5)
    assert found["sampling_error"] < max(0.05 * abs(change), 0.01)


def test_hiding_what_gradients_point_to_lowers_the_score_sooner_than_hiding_regions_at_random(service):
    random = np.random.default_rng(0)
    led, mixed = [], []
    for image in IMAGES_DRAWN:
        found = explain(service, IMAGES, image.tolist())
        values = scores(found, "regions")
        led.append(_mean_score(service, found, image, np.argsort(-values)))
        mixed += [_mean_score(service, found, image, random.permutation(len(values))) for _ in range(3)]
    assert np.mean(led) < np.mean(mixed) - 0.1


def _mean_score(service, found, image, order):
    """Of the explained class, while half of the regions are hidden one after the other."""
    hidden, rows = image.copy(), []
    for region in (found["regions"][place] for place in order[: len(order) // 2]):
        lines = slice(region["top"], region["top"] + region["height"])
        hidden[lines, region["left"] : region["left"] + region["width"]] = int(found["baseline"].split()[1])
        rows.append(hidden.tolist())
    reply = service.client.post(f"/v1/models/{IMAGES}:predict", json={"instances": rows})
    return np.mean([row[found["class"]["index"]] for row in reply.json()["predictions"]])


def test_the_tokens_of_a_text_get_the_gradients_of_their_vectors_and_of_their_pairs(service):
    found = explain(service, TEXTS, SENTENCE, **{"class": "positive"})
    words = {token["text"]: token["score"] for token in found["tokens"]}
    assert words["wonderful"] > 0 > words["bad"]
    assert sum(token["score"] for token in found["tokens"]) == pytest.approx(
        found["value"] - found["baseline_value"], abs=0.01
    )


def test_over_grpc_the_scores_are_the_same(service):
    given = [tensor("x", np.array([[3, 2, 1]], np.float32), "FP32")]
    reply = service.triton.infer("line", given, parameters={"explain": "gradients"})
    assert json.loads(reply.as_numpy("explanation")[0]) == explain(service, "line", [3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("name", "instance", "sentence"),
    [
        ("steps", [1, 2, 3], "the model has no gradients that can be computed here: nothing of floating point is"),
        ("brightness", [[0] * 4] * 4, "which has no gradients; 'gradients' takes versions that the backend savedmodel"),
    ],
)
def test_a_model_without_gradients_is_refused_in_words(service, name, instance, sentence):
    body = {"instances": [instance], "method": "gradients"}
    reply = service.client.post(f"/v1/models/{name}:explain", json=body)
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]


def test_the_page_is_told_of_which_models_gradients_can_be_had(service):
    models = service.client.get("/playground/models").json()["models"]
    assert {model["name"] for model in models if model["gradients"]} == {IMAGES, TEXTS, "line", "steps"}


def test_a_process_of_its_own_with_the_lowest_priority_computes_them_and_is_replaced_when_it_dies(service):
    before = explain(service, "line", [1.0, 1.0, 1.0])
    everyone = [pid for pid in saved_model_processes(service.process.pid) if _is_lowest(pid)]
    assert 0 < len(everyone) < len(saved_model_processes(service.process.pid))
    for pid in everyone:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, everyone)))
    predicted = service.client.post("/v1/models/line:predict", json={"instances": [[1.0, 1.0, 1.0]]})
    assert predicted.json() == {"predictions": [1.0]}
    assert explain(service, "line", [1.0, 1.0, 1.0]) == before


def _is_lowest(pid):
    return os.getpriority(os.PRIO_PROCESS, pid) == 19


def test_a_version_can_be_unloaded_while_gradients_of_it_are_computed(service):
    body = {"instances": [SENTENCE * 10], "method": "gradients"}
    lines = under_way(service, f"/v1/models/{TEXTS}:explain", body, times=2)
    assert service.client.post(f"/v2/repository/models/{TEXTS}/unload").status_code == 200
    assert {code for code, _ in last_replies(lines)} <= {200, 503}
    assert service.client.post(f"/v2/repository/models/{TEXTS}/load").status_code == 200
    assert explain(service, TEXTS, SENTENCE)["method"] == "gradients"


class Kept:
    """A process that answers with what it was asked."""

    pid = 1

    def __init__(self):
        self.is_closed = False

    def living(self):
        return self

    def ask(self, signature, variants, limit_s, **more):
        return {}, {"scores": np.zeros(1), "difference": np.zeros(())}

    def close(self):
        self.is_closed = True

    kill = close


def test_a_process_that_nobody_asks_is_ended_and_starts_again_with_the_next_question():
    started = []

    def start():
        started.append(Kept())
        return started[-1]

    process = GradientProcess(start, "model", idle_s=0.2)
    assert process.pid is None
    process.scores("serving_default", {}, output="y", target=0)
    assert process.pid == 1
    wait_until(lambda: started[0].is_closed)
    assert process.pid is None
    process.scores("serving_default", {}, output="y", target=0)
    assert len(started) == 2
    process.close()
    assert started[1].is_closed
    with pytest.raises(BackendFailed, match="closed"):
        process.scores("serving_default", {}, output="y", target=0)
    assert len(started) == 2
