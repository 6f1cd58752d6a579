"""Errors caused by clients are answered, and the service's log has no error about them."""

import gzip
import json

from app.contract.manifest import write_manifest
from app.errors import ERROR_LIMIT_CHARACTERS
from tests.support.tiny_models import write_brightness_model, write_words_model


def test_client_faults_are_not_logged_as_errors(start, models):
    service = start(models, "--log-level", "debug")
    pixels = [[0] * 4] * 4

    def infer(**parameters):
        tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 4, 4], "data": [pixels]}
        return {"inputs": [tensor], "parameters": parameters}

    twice = gzip.compress(gzip.compress(json.dumps({"instances": [pixels]}).encode()))
    codes = [
        service.client.post("/v2/models/brightness/infer", json=infer(timeout=1)).status_code,
        service.client.post(
            "/v1/models/brightness:predict", content=twice, headers={"content-encoding": "gzip, gzip"}
        ).status_code,
    ]
    assert codes[0] in {429, 504}
    assert codes[1] == 501
    service.wait_for_log("refused with 501")
    assert not [line for line in service.lines if "ERROR" in line]


def test_a_long_value_in_a_file_makes_no_long_reason(start, tmp_path):
    write_words_model(tmp_path)
    directory = write_brightness_model(tmp_path)
    path = directory / "model.json"
    document = json.loads(path.read_text())
    document["postprocessing"] = {
        "kind": "classification",
        "output": "probabilities",
        "labels": ["x" * 1_000_000] * 3,
    }
    path.write_text(json.dumps(document))
    write_manifest(directory)
    service = start(tmp_path)
    index = {line["name"]: line for line in service.client.post("/v2/repository/index").json()}
    assert index["brightness"]["state"] == "UNAVAILABLE"
    assert 100 < len(index["brightness"]["reason"]) <= ERROR_LIMIT_CHARACTERS + len(" ...")
    assert len(service.client.get("/v2/models/brightness/ready").content) < 2 * ERROR_LIMIT_CHARACTERS
    assert max(map(len, service.lines)) < 2 * ERROR_LIMIT_CHARACTERS
