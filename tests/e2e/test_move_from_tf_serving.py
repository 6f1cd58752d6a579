"""docs/how-to/move-from-tf-serving.md: SavedModels that Keras wrote, and requests as its clients send them."""

import base64
import json
import re

import numpy as np
import pytest

from tests.support.images import png
from tests.support.readme import ROOT
from tests.support.saved_models import tensorflow, write_brightness
from tests.support.service import Service, running

PATIENCE_S = 300


def write_keras_model(directory, *, weight):
    """score = weight * (a + b) + 0.5, saved by Keras."""
    tensorflow()
    import tf_keras

    first, second = (tf_keras.Input((1,), name=name) for name in "ab")
    joined = tf_keras.layers.Concatenate()([first, second])
    score = tf_keras.layers.Dense(1, name="score")(joined)
    model = tf_keras.Model({"a": first, "b": second}, score)
    model.get_layer("score").set_weights([np.full((2, 1), weight, np.float32), np.array([0.5], np.float32)])
    model.save(str(directory))


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The models.config of the page, with paths of this machine."""
    store = tmp_path_factory.mktemp("tf-serving")
    for version in (1, 2):
        write_keras_model(store / "score" / str(version), weight=float(version))
    write_brightness(store / "brightness" / "1")
    page = (ROOT / "docs/how-to/move-from-tf-serving.md").read_text(encoding="utf-8")
    [text] = re.findall(r"```\n(model_config_list .*?)```", page, re.DOTALL)
    assert "/models/score" in text
    text = text.replace("/models/score", str(store / "score"))
    more = f'  config {{ name: "brightness" base_path: "{store / "brightness"}" }}\n}}'
    (store / "models.config").write_text(text.rstrip().removesuffix("}") + more)
    service = Service(None, "--model-config-file", str(store / "models.config"), wait_ready=False)
    service.wait_for_log("ready: 2 of 2 models serve", within_s=PATIENCE_S)
    yield from running(service)


def post(service, path, document):
    """As TensorFlow Serving's examples do: ``requests.post(url, data=json.dumps(...))``, without a Content-Type."""
    request = service.client.build_request("POST", f"/v1/models/{path}", content=json.dumps(document))
    request.headers.pop("Content-Type", None)
    reply = service.client.send(request)
    return reply.json() if reply.is_success else (reply.status_code, reply.json()["error"])


ROWS = [{"a": [1.0], "b": [2.0]}, {"a": [0.0], "b": [-1.0]}]
COLUMNS = {"a": [[1.0], [0.0]], "b": [[2.0], [-1.0]]}


def test_predict_by_row_and_by_column(service):
    assert post(service, "score:predict", {"instances": ROWS}) == {"predictions": [[3.5], [-0.5]]}
    assert post(service, "score:predict", {"inputs": COLUMNS}) == {"outputs": [[3.5], [-0.5]]}
    named = {"signature_name": "serving_default", "instances": ROWS}
    assert post(service, "score:predict", named) == {"predictions": [[3.5], [-0.5]]}


def test_versions_and_labels(service):
    assert post(service, "score/versions/2:predict", {"instances": ROWS}) == {"predictions": [[6.5], [-1.5]]}
    assert post(service, "score/labels/candidate:predict", {"instances": ROWS}) == {"predictions": [[6.5], [-1.5]]}
    assert post(service, "score/labels/stable:predict", {"instances": ROWS}) == {"predictions": [[3.5], [-0.5]]}


def test_regress(service):
    examples = [{"a": 1.0, "b": 2.0}, {"a": 0.0, "b": -1.0}]
    assert post(service, "score:regress", {"examples": ROWS}) == {"results": [3.5, -0.5]}
    code, error = post(service, "score:regress", {"examples": examples})
    assert code == 400
    assert "'a'" in error


def test_classify_requires_names_of_classes(service):
    code, error = post(service, "score:classify", {"examples": ROWS})
    assert (code, error) == (400, "model 'score' does not classify; use :predict")


def test_bytes_are_base64(service):
    image = {"b64": base64.b64encode(png(np.full((4, 4), 255, np.uint8))).decode()}
    assert post(service, "brightness:predict", {"instances": [image]}) == {"predictions": [1]}
    assert post(service, "brightness:predict", {"instances": [{"image_bytes": image}]}) == {"predictions": [1]}


def test_status(service):
    reply = service.client.get("/v1/models/score").json()
    assert [(each["version"], each["state"]) for each in reply["model_version_status"]] == [
        ("2", "AVAILABLE"),
        ("1", "AVAILABLE"),
    ]
    [status] = service.client.get("/v1/models/score/labels/candidate").json()["model_version_status"]
    assert status["version"] == "2"
    assert status["status"]["error_code"] == "OK"


def test_metadata(service):
    reply = service.client.get("/v1/models/score/versions/1/metadata").json()
    assert reply["model_spec"] == {"name": "score", "signature_name": "", "version": "1"}
    signature = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert {name: each["dtype"] for name, each in signature["inputs"].items()} == {"a": "DT_FLOAT", "b": "DT_FLOAT"}
    sizes = [[size["size"] for size in each["tensor_shape"]["dim"]] for each in signature["inputs"].values()]
    assert sizes == [["-1", "1"], ["-1", "1"]]
    assert set(signature["outputs"]) == {"score"}


def test_missing_models_and_versions(service):
    assert post(service, "score/versions/9:predict", {"instances": ROWS})[0] == 404
    assert post(service, "score:predict", {"instances": [{"a": [1.0]}]})[0] == 400
    code, error = post(service, "score:predict", {"signature_name": "other", "instances": ROWS})
    assert code == 400
    assert "signature 'other' does not exist" in error
