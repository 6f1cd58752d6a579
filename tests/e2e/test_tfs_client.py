"""TensorFlow Serving over gRPC, driven by its own client (tensorflow-serving-api) and TensorFlow."""

import json

import numpy as np
import pytest

from tests.support.dtype_rows import ROWS
from tests.support.tfs import real_client
from tests.support.tfs_service import TfsService
from tests.support.tiny_inputs import expected
from tests.support.tiny_models import (
    write_brightness_model,
    write_rule_model,
    write_types_model,
    write_words_model,
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    models = tmp_path_factory.mktemp("tfs-client")
    for write in (write_brightness_model, write_words_model, write_rule_model, write_types_model):
        write(models)
    service = TfsService(models)
    yield json.loads(real_client(str(service.grpc_port)))
    assert service.stop() == 0


def test_predict(answers):
    images = np.stack([np.full((4, 4), grey) for grey in (0, 128, 255)])
    np.testing.assert_allclose(answers["predict"], expected(images), atol=1e-6)
    assert np.array(answers["predict"]).ravel().tolist() == answers["float_val"]
    assert answers["spec"] == ["brightness", 1, "serving_default"]
    assert np.array(answers["texts"]).argmax(axis=1).tolist() == [1, 0]


def test_every_dtype_is_returned_as_sent(answers):
    own = {"string": "object"}
    assert answers["types"] == {name: [own.get(name, name), True] for name in ROWS}
    assert answers["bfloat16"] == [[0], [-5]]


def test_one_value_repeated_for_all_elements(answers):
    assert answers["repeated"] == [[0], [0], [0]]


def test_classify_regress_and_multi_inference(answers):
    assert answers["classify"] == [["dark", "bright"], ["bright", "dark"]]
    assert answers["regress"] == answers["multi"] == [0, 5]


def test_metadata_and_status(answers):
    assert answers["unpacked"]
    assert answers["metadata"] == ["uint8", [-1, 4, 4]]
    assert answers["status"] == [1, "AVAILABLE", 0]
    assert answers["reload"] == 0


def test_errors(answers):
    assert answers["unknown"] == ["NOT_FOUND", "Servable not found for request: Latest(dummy_model)"]
    assert answers["dtype"] == [
        "INVALID_ARGUMENT",
        "input 'pixels' has dtype DT_DOUBLE; model 'brightness' expects DT_UINT8",
    ]


@pytest.mark.parametrize("order", ["--before", "--after"])
def test_a_process_may_import_tensorflow_the_client_and_the_projects_messages(order):
    """protobuf refuses a second message with the same full name, in either order of import."""
    assert real_client(order) == "[1.5]"
