"""Several instances of a version in a real service."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tests.support.service import Service
from tests.support.tiny_models import SIDE, write_brightness_model


def test_two_instances_answer_with_the_bits_of_one(tmp_path):
    write_brightness_model(tmp_path)
    policy = tmp_path / "brightness" / "serving.json"
    policy.write_text(json.dumps({"instances": 2, "batching": {"max_batch_size": 4}}))
    generator = np.random.default_rng(3)
    images = [generator.integers(0, 256, (1 + i % 4, SIDE, SIDE)).tolist() for i in range(60)]
    service = Service(tmp_path, "--watch", "off")

    def ask(image):
        return service.client.post("/v1/models/brightness:predict", json={"instances": image}).content

    with ThreadPoolExecutor(8) as clients:
        together = list(clients.map(ask, images))
    [group] = service.client.get("/v2/models/brightness/config").json()["instance_group"]
    assert (group["count"], group["kind"]) == (2, "KIND_CPU")
    [shown] = service.client.get("/v2/devices").json()["models"]
    assert [each["device"] for each in shown["instances"]] == ["cpu", "cpu"]
    policy.write_text("{}")
    assert service.client.post("/v2/repository/models/brightness/load").status_code == 200
    [group] = service.client.get("/v2/models/brightness/config").json()["instance_group"]
    assert group["count"] == 1, "the key is one for which a version is loaded anew"
    assert [ask(image) for image in images] == together
    assert service.stop() == 0
