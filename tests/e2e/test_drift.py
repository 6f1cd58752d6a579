"""Drift of a running service: requests like the training data, and others."""

import re
from itertools import cycle

import numpy as np
import pytest

from tests.support.baselines import grey_images, write_brightness_baseline
from tests.support.service import ROOT, sample, wait_until
from tests.support.tiny_models import write_brightness_model
from tests.support.workers import Workers

ALL = {"ATELIER_DRIFT_ROWS_PER_S": "1e6"}
KINDS = ("input", "brightness", "prediction", "confidence")
THRESHOLD = float(
    re.search(r"atelier_drift_score\{.+\} > ([\d.]+)", (ROOT / "deploy/prometheus/rules/states.yml").read_text())[1]
)
ROWS = 400
EACH = 8


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_brightness_baseline(write_brightness_model(directory))
    return directory


def ask(service, *, brighter):
    for images in np.split(grey_images(ROWS, brighter=brighter), ROWS // EACH):
        body = {"instances": images.tolist()}
        service.client.post("/v1/models/brightness:predict", json=body).raise_for_status()


def sampled(service):
    """The rows in the window, once there are some."""
    wait_until(lambda: sample(service.client, "atelier_drift_rows", model="brightness", kind="confidence"))
    return sample(service.client, "atelier_drift_rows", model="brightness", kind="confidence")


def scores(service, *, rows=ROWS):
    wait_until(lambda: sampled(service) == rows)
    return {kind: sample(service.client, "atelier_drift_score", model="brightness", kind=kind) for kind in KINDS}


def test_requests_like_the_training_data_stay_below_the_threshold_of_the_alert(start, models):
    service = start(models, environment=ALL)
    ask(service, brighter=0)
    found = scores(service)
    assert max(found.values()) < THRESHOLD / 2
    assert min(found.values()) > 0


def test_other_requests_exceed_it_by_their_inputs_and_their_answers(start, models):
    service = start(models, environment=ALL)
    ask(service, brighter=50)
    found = scores(service)
    assert min(found["input"], found["brightness"], found["prediction"]) > 2 * THRESHOLD


def test_a_share_of_the_rows_is_looked_at_and_few_rows_have_no_score(start, models):
    service = start(models, environment={"ATELIER_DRIFT_ROWS_PER_S": "1"})
    ask(service, brighter=50)
    found = sampled(service)
    assert EACH <= found < ROWS / 4
    assert "atelier_drift_score{" not in service.client.get("/metrics").text


def test_the_rows_of_all_workers_are_compared_together(start, models):
    workers = Workers(start(models, "--workers", "2", environment=ALL))
    images = np.split(grey_images(ROWS, brighter=50), ROWS // EACH)
    bodies = cycle([{"instances": rows.tolist()} for rows in images])
    answers = workers.ask_all(lambda client: client.post("/v1/models/brightness:predict", json=next(bodies)), most=25)
    assert {answer.status_code for answer in answers} == {200}
    assert scores(workers.service, rows=len(answers) * EACH)["brightness"] > 2 * THRESHOLD
    workers.close()


def test_it_can_be_switched_off(start, models):
    service = start(models, environment={"ATELIER_DRIFT": "false"})
    ask(service, brighter=50)
    assert "atelier_drift_rows{" not in service.client.get("/metrics").text
