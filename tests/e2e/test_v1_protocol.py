"""TensorFlow Serving's REST as its users call it: with curl, in any case, with NaN, for regression."""

import base64
import json
import math
import subprocess

import httpx
import numpy as np
import pytest

from tests.support.images import png
from tests.support.service import Service
from tests.support.tiny_models import SIDE, write_brightness_model, write_rule_model

PIXELS = np.random.default_rng(7).integers(0, 256, (2, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    models = tmp_path_factory.mktemp("v1")
    write_rule_model(models)
    write_rule_model(models, name="Open", finite=False)
    write_brightness_model(models)
    (models / "brightness" / "serving.json").write_text('{"version_labels": {"Stable": 1}}')
    service = Service(models)
    yield service.url
    assert service.stop() == 0


def curl(address, body=None):
    """``curl -d BODY ADDRESS`` as the documentation of TensorFlow Serving writes it: the type is a form's."""
    data = () if body is None else ("-d", body)
    done = subprocess.run(["curl", "-s", *data, address], capture_output=True, text=True, check=True, timeout=30)
    return json.loads(done.stdout)


def test_rows_columns_and_base64_by_curl(url):
    path = f"{url}/v1/models/brightness:predict"
    rows = curl(path, json.dumps({"signature_name": "serving_default", "instances": PIXELS.tolist()}))["predictions"]
    columns = curl(path, json.dumps({"inputs": {"pixels": PIXELS.tolist()}}))["outputs"]
    images = [{"b64": base64.b64encode(png(image)).decode()} for image in PIXELS]
    assert rows == columns == curl(path, json.dumps({"instances": images}))["predictions"]


def test_a_label_keeps_its_case_and_the_words_around_it_do_not_matter(url):
    body = json.dumps({"instances": PIXELS.tolist()})
    want = curl(f"{url}/v1/models/brightness:predict", body)
    assert "predictions" in want
    assert curl(f"{url}/V1/Models/brightness/Labels/Stable:PREDICT", body) == want
    assert curl(f"{url}/v1/MODELS/brightness/VERSIONS/1:predict", body) == want
    assert "error" in curl(f"{url}/v1/models/brightness/labels/stable:predict", body)
    assert "error" in curl(f"{url}/v1/models/Brightness:predict", body)


@pytest.mark.parametrize("rest", ["", "/versions/1", "/labels/Stable", "/metadata", "/versions/1/metadata"])
def test_status_and_metadata_in_any_case(url, rest):
    want = curl(f"{url}/v1/models/brightness{rest}")
    assert "error" not in want
    odd = rest.replace("versions", "Versions").replace("labels", "LABELS").replace("metadata", "MetaData")
    assert curl(f"{url}/v1/Models/brightness{odd}") == want


def test_regress_answers_one_number_per_example(url):
    body = json.dumps({"signature_name": "serving_default", "examples": [{"x": [0.5]}, {"x": [-2]}]})
    assert curl(f"{url}/v1/models/rule:regress", body) == {"results": [0.0, -5.0]}
    shared = json.dumps({"context": {"x": [3]}, "examples": [{}, {}]})
    assert curl(f"{url}/v1/models/rule:regress", shared) == {"results": [5.0, 5.0]}


def test_regress_of_a_classifier_names_the_verb_to_use(url):
    answer = curl(f"{url}/v1/models/brightness:regress", json.dumps({"examples": [{"pixels": PIXELS[0].tolist()}]}))
    assert answer == {"error": "model 'brightness' does not answer with one number per instance; use :classify"}


def test_nan_and_infinity_pass_where_the_signature_allows_them(url):
    rows = '{"instances": [[NaN], [Infinity], [-Infinity], [1.5]]}'
    values = [row[0] for row in curl(f"{url}/v1/models/Open:predict", rows)["predictions"]]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 2.0]
    done = subprocess.run(
        ["curl", "-s", "-d", rows, f"{url}/v1/models/Open:predict"], capture_output=True, text=True, check=True
    )
    assert "NaN" in done.stdout
    assert "-Infinity" in done.stdout


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_refused_elsewhere(url, value):
    answer = curl(f"{url}/v1/models/rule:predict", f'{{"instances": [[{value}]]}}')
    assert answer["error"].endswith("at [0] is not a finite number")


def test_a_number_beyond_float32_is_refused_even_there(url):
    answer = curl(f"{url}/v1/models/Open:predict", '{"instances": [[1e300]]}')
    assert "value 1e+300 at [0] is outside" in answer["error"]


@pytest.mark.parametrize("values", [[np.nan], [np.inf]])
def test_raw_bytes_that_are_not_finite_numbers_are_refused_too(url, values):
    octets = {"content-type": "application/octet-stream"}
    content = np.array(values, np.float32).tobytes()
    refused = httpx.post(f"{url}/v1/models/rule:predict", content=content, headers=octets)
    assert refused.status_code == 400
    assert "is not a finite number" in refused.json()["error"]
    assert httpx.post(f"{url}/v1/models/Open:predict", content=content, headers=octets).status_code == 200
