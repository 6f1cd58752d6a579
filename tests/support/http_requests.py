"""Inference requests over HTTP, and checks of their replies."""

import numpy as np

from tests.support.tiny_models import SIDE


def answers(service, **headers):
    reply = service.client.post("/v2/models/brightness/infer", json=INFER, headers=headers)
    return reply.json()["model_version"]


INFER = {"inputs": [{"name": "pixels", "shape": [1, 4, 4], "datatype": "UINT8", "data": [0] * 16}]}


RANDOM = np.random.default_rng(0)


def image(level=None):
    """One random image as a V2 request; with ``level``, all its pixels have that value."""
    pixels = RANDOM.integers(0, 256, SIDE * SIDE) if level is None else np.full(SIDE * SIDE, level)
    data = pixels.tolist()
    return {"inputs": [{"name": "pixels", "shape": [1, SIDE, SIDE], "datatype": "UINT8", "data": data}]}


def ask(client, body=None, headers=None, model="brightness"):
    reply = client.post(f"/v2/models/{model}/infer", json=body or image(), headers=headers)
    return reply.json().get("model_version") if reply.status_code == 200 else reply.status_code


def refused(client, path, *, code=400, **body):
    reply = client.post(path, **body)
    assert reply.status_code == code, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert reply.json().keys() == {"error"}
    return reply.json()["error"]
