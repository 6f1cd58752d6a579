"""A version with two inputs and three outputs, trained here, answers all of them in every protocol, as Keras does."""

import json
import re
from base64 import b64encode

import httpx
import numpy as np
import pytest
import tritonclient.http as triton_http
from rich.console import Console

from app.contract.golden import Golden
from tests.support.commands import command
from tests.support.grpc_requests import tensor
from tests.support.images import png
from tests.support.saved_models import tensorflow
from tests.support.service import running
from tests.support.tfs import numbers
from tests.support.tfs_service import TfsService
from tests.training.several_heads import recipe
from training.runs.record import Plan

MODEL = "tiny-heads"
ROWS = 5
DATATYPES = {"pixels": "UINT8", "numbers": "FP32"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    tensorflow()
    from training.runs.run import run

    folder = tmp_path_factory.mktemp("heads")
    plan = Plan(repository=folder / "models")
    run(recipe(), plan, directory=folder / "run", console=Console(quiet=True))
    return folder / "models"


@pytest.fixture(scope="module")
def service(models):
    yield from running(TfsService(models))


@pytest.fixture(scope="module")
def golden(models):
    return Golden.read(models / MODEL / "1")


@pytest.fixture
def inputs(golden):
    return {name: values[:ROWS] for name, values in golden.inputs.items()}


@pytest.fixture
def same(golden):
    """Compares answers, output name -> (rows, *shape), with those of Keras."""

    def check(outputs):
        assert set(outputs) == {"kind", "tags", "price"}
        for name, values in outputs.items():
            expected = golden.outputs[name][:ROWS]
            tolerance = golden.tolerance_for("CPUExecutionProvider")
            np.testing.assert_allclose(np.array(values).reshape(expected.shape), expected, atol=tolerance)

    return check


def predict(service, document, verb="predict"):
    reply = service.client.post(f"/v1/models/{MODEL}:{verb}", json=document)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_it_passed_the_golden_gate_with_every_output(service):
    assert service.metric("atelier_model_verified", model=MODEL) == 1
    described = service.client.get(f"/v2/models/{MODEL}").json()
    assert [each["name"] for each in described["inputs"]] == ["pixels", "numbers"]
    assert [(each["name"], each["shape"]) for each in described["outputs"]] == [
        ("kind", [-1, 2]),
        ("tags", [-1, 2]),
        ("price", [-1, 1]),
    ]


def test_v1_json_answers_rows_and_columns(service, inputs, same):
    rows = [{name: values[row].tolist() for name, values in inputs.items()} for row in range(ROWS)]
    predictions = predict(service, {"instances": rows})["predictions"]
    same({name: [row[name] for row in predictions] for name in predictions[0]})
    columns = {name: values.tolist() for name, values in inputs.items()}
    same(predict(service, {"inputs": columns})["outputs"])


def test_a_picture_is_sent_as_a_file_next_to_the_numbers(service, inputs):
    picture = {"b64": b64encode(png(inputs["pixels"][0])).decode()}
    rows = [{"pixels": picture, "numbers": inputs["numbers"][0].tolist()}]
    whole = [{"pixels": inputs["pixels"][0].tolist(), "numbers": inputs["numbers"][0].tolist()}]
    assert predict(service, {"instances": rows}) == predict(service, {"instances": whole})


def test_classify_names_the_classes_of_the_head_that_has_some(service, inputs, golden):
    rows = [{name: values[row].tolist() for name, values in inputs.items()} for row in range(ROWS)]
    results = predict(service, {"examples": rows}, "classify")["results"]
    best = [("bright", "dark")[index] for index in golden.outputs["kind"][:ROWS].argmax(axis=1)]
    assert [ranked[0][0] for ranked in results] == best


def test_v2_json_and_binary_answer_all_outputs_or_the_one_that_is_asked_for(service, inputs, same):
    document = {
        "inputs": [
            {
                "name": name,
                "datatype": DATATYPES[name],
                "shape": list(values.shape),
                "data": values.ravel().tolist(),
            }
            for name, values in inputs.items()
        ]
    }
    reply = service.client.post(f"/v2/models/{MODEL}/infer", json=document).json()
    same({each["name"]: each["data"] for each in reply["outputs"]})
    one = service.client.post(f"/v2/models/{MODEL}/infer", json={**document, "outputs": [{"name": "price"}]}).json()
    assert [each["name"] for each in one["outputs"]] == ["price"]
    with triton_http.InferenceServerClient(httpx.URL(service.url).netloc.decode()) as client:
        given = [tensor(name, values, DATATYPES[name], api=triton_http) for name, values in inputs.items()]
        answer = client.infer(MODEL, given)
        same({name: answer.as_numpy(name) for name in ("kind", "tags", "price")})


def test_both_protocols_over_grpc_answer_all_outputs(service, inputs, same):
    answer = service.triton.infer(MODEL, [tensor(name, values, DATATYPES[name]) for name, values in inputs.items()])
    same({name: answer.as_numpy(name) for name in ("kind", "tags", "price")})
    outputs = service.tfs.predict(inputs, MODEL).outputs
    same({name: numbers(each) for name, each in outputs.items()})


def test_models_shows_the_figures_of_every_output(models):
    code, printed = command("models", models=models)
    assert code == 0
    assert "answers   kind: bright, dark; tensors: tags, price" in printed
    assert re.search(r"measured  kind accuracy 1.0000, tags micro F1 0\.\d{4}, price RMSE 0\.\d+ on test data", printed)


def test_a_row_without_one_of_the_inputs_is_refused(service, inputs):
    body = json.dumps({"instances": [{"numbers": inputs["numbers"][0].tolist()}]})
    reply = service.client.post(f"/v1/models/{MODEL}:predict", content=body)
    assert reply.status_code == 400
    assert "pixels" in reply.json()["error"]
