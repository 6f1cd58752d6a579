"""TensorFlow Serving over gRPC, driven by a client of the project's own messages."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from app.contract.dtypes import numpy_dtype
from app.edge.grpc.tfs import serving_pb2 as pb
from tests.support.bare_models import write_graph
from tests.support.dtype_rows import ROWS
from tests.support.images import png
from tests.support.model_state import shadow
from tests.support.models_directory import publish, write_policy
from tests.support.service import Service, running, start_fixture, wait_until
from tests.support.tfs import (
    CLASSIFY,
    MODEL,
    PREDICTION,
    REGRESS,
    example,
    examples,
    model_spec,
    numbers,
    predict_request,
    refusal,
    shaped,
    tensor,
)
from tests.support.tfs_service import TfsService
from tests.support.tiny_inputs import MANY, PIXELS, TEXTS, expected
from tests.support.tiny_models import (
    SIDE,
    write_brightness_model,
    write_rule_model,
    write_slow_model,
    write_types_model,
    write_words_model,
)

IDS = np.array([[2, 4, 2], [3, 3, 2]], np.int32)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with four models; tests do not change it."""
    models = tmp_path_factory.mktemp("tfs-models")
    write_brightness_model(models)
    write_words_model(models)
    write_rule_model(models)
    write_types_model(models)
    (models / "brightness" / "serving.json").write_text('{"version_labels": {"stable": 1}}')
    yield from running(TfsService(models, "--log-level", "debug"))


@pytest.fixture
def client(service):
    return service.tfs


start = start_fixture(TfsService)


def classes(classification):
    return [(each.label, round(each.score, 5)) for each in classification.classes]


def test_predict_gives_the_answers_of_rest(client, service):
    reply = client.predict({"pixels": PIXELS})
    np.testing.assert_allclose(numbers(reply.outputs["probabilities"]), expected(PIXELS), atol=1e-6)
    rest = service.client.post("/v1/models/brightness:predict", json={"instances": PIXELS.tolist()}).json()
    assert numbers(reply.outputs["probabilities"]).tolist() == np.array(rest["predictions"], np.float32).tolist()
    assert reply.model_spec == model_spec("brightness", version=1, signature="serving_default")


@pytest.mark.parametrize("spec", [{"version": 1}, {"label": "stable"}, {"signature": "serving_default"}])
def test_a_version_a_label_and_the_signature_may_be_named(client, spec):
    reply = client.predict({"pixels": PIXELS}, **spec)
    assert reply.model_spec == model_spec("brightness", version=1, signature="serving_default")


@pytest.mark.parametrize("dtype", ROWS)
def test_every_dtype_in_content_and_in_values_is_returned_unchanged(client, dtype):
    given = {f"in_{each}": ROWS[each] for each in ROWS}
    values = ROWS[dtype]
    protos = {name: tensor(each) for name, each in given.items()}
    reply = client.predict(protos, "types", outputs=[f"out_{dtype}"])
    assert list(reply.outputs) == [f"out_{dtype}"]
    sent_back = reply.outputs[f"out_{dtype}"]
    assert not sent_back.tensor_content
    if dtype != "string":  # the reply states each value, and is accepted as a request
        assert sent_back == client.predict({**protos, f"in_{dtype}": sent_back}, "types").outputs[f"out_{dtype}"]
    [found] = [value for field, value in sent_back.ListFields() if field.name.endswith("_val")]
    if dtype == "float16":
        assert np.array(found, np.uint16).view(np.float16).tolist() == values.ravel().tolist()
    else:
        assert np.array(found, numpy_dtype(dtype)).tolist() == values.ravel().tolist()
    assert [dim.size for dim in sent_back.tensor_shape.dim] == [2, 2]


def test_strings_in_tensor_content_have_their_lengths_first(client):
    protos = {f"in_{each}": tensor(ROWS[each]) for each in ROWS}
    elements = list(ROWS["string"].ravel())
    content = bytes(map(len, elements)) + b"".join(elements)
    protos["in_string"] = shaped("DT_STRING", (2, 2), tensor_content=content)
    reply = client.predict(protos, "types", outputs=["out_string"])
    assert list(reply.outputs["out_string"].string_val) == elements


def test_the_last_value_fills_missing_elements_and_without_values_they_are_zero(client):
    reply = client.predict({"x": shaped("DT_FLOAT", (4, 1), float_val=[1, 2])}, "rule")
    assert reply.outputs["values"].float_val == [1, 3, 3, 3]
    assert client.predict({"x": shaped("DT_FLOAT", (2, 1))}, "rule").outputs["values"].float_val == [-1, -1]
    reply = client.predict({"token_ids": shaped("DT_STRING", (3,), string_val=[b"good", b"bad"])}, "words")
    assert numbers(reply.outputs["probabilities"]).argmax(axis=1).tolist() == [1, 0, 0]


def test_half_precision_and_bfloat16_are_widened_exactly(client):
    half = shaped("DT_HALF", (2, 1), half_val=np.array([0.5, -2], np.float16).view(np.uint16).tolist())
    brain = np.array([0.5, -2], np.float32).view(np.uint32) >> 16
    for proto in (
        half,
        shaped("DT_BFLOAT16", (2, 1), half_val=brain.tolist()),
        shaped("DT_BFLOAT16", (2, 1), tensor_content=brain.astype(np.uint16).tobytes()),
    ):
        assert client.predict({"x": proto}, "rule").outputs["values"].float_val == [0, -5]


@pytest.mark.parametrize("name", ["token_ids", "text"])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_texts_are_tokenised_by_the_models_own_contract(client, name, shape):
    texts = np.array([text.encode() for text in TEXTS], object).reshape(shape)
    reply = client.predict({name: texts}, "words")
    ids = np.array([[1, 2, 4, 0, 0], [3, 0, 0, 0, 0], [2, 2, 3, 4, 4]], np.int32)
    assert reply == client.predict({"token_ids": ids}, "words")


@pytest.mark.parametrize("name", ["pixels", "image"])
def test_images_go_through_the_models_own_steps(client, name):
    files = np.array([png(image) for image in PIXELS], object)
    reply = client.predict({name: files})
    np.testing.assert_allclose(numbers(reply.outputs["probabilities"]), expected(PIXELS), atol=1e-6)


def test_narrower_integers_are_accepted_where_no_value_is_lost(client):
    assert client.predict({"token_ids": IDS.astype(np.int8)}, "words") == client.predict({"token_ids": IDS}, "words")


def test_classify_names_the_classes_best_first_as_rest_does(client, service):
    sent = examples(*(example(pixels=image.ravel().tolist()) for image in PIXELS))
    reply = client.Classify(pb.ClassificationRequest(model_spec=model_spec(), input=sent))
    body = {"examples": [{"pixels": image.tolist()} for image in PIXELS]}
    rest = service.client.post("/v1/models/brightness:classify", json=body).json()["results"]
    found = [classes(each) for each in reply.result.classifications]
    assert found == [[(label, round(score, 5)) for label, score in row] for row in rest]
    assert reply.model_spec == model_spec("brightness", version=1, signature="serving_default")


@pytest.mark.parametrize("name", ["text", "token_ids"])
def test_classify_takes_texts_and_token_ids(client, name):
    sent = examples(*(example(**{name: [text.encode()]}) for text in TEXTS))
    reply = client.Classify(pb.ClassificationRequest(model_spec=model_spec("words"), input=sent))
    assert [classes(each)[0][0] for each in reply.result.classifications] == ["positive", "negative", "positive"]
    sent = examples(*(example(token_ids=row) for row in IDS.tolist()))
    reply = client.Classify(pb.ClassificationRequest(model_spec=model_spec("words"), input=sent))
    assert [classes(each)[0][0] for each in reply.result.classifications] == ["positive", "negative"]


def test_classify_takes_images(client):
    sent = examples(*(example(image=[png(np.full((SIDE, SIDE), grey, np.uint8))]) for grey in (0, 255)))
    reply = client.Classify(pb.ClassificationRequest(model_spec=model_spec(), input=sent))
    assert [classes(each)[0][0] for each in reply.result.classifications] == ["dark", "bright"]


def test_regress_answers_one_number_for_each_example(client):
    sent = examples(example(x=[0.5]), example(x=[-2.0]), example(x=[3]))
    reply = client.Regress(pb.RegressionRequest(model_spec=model_spec("rule"), input=sent))
    assert [each.value for each in reply.result.regressions] == [0, -5, 5]


def test_a_feature_of_the_context_is_used_where_an_example_does_not_have_it(client):
    sent = examples(example(), example(x=[1.0]), context=example(x=[0.5]))
    reply = client.Regress(pb.RegressionRequest(model_spec=model_spec("rule"), input=sent))
    assert [each.value for each in reply.result.regressions] == [0, 1]


@pytest.mark.parametrize(
    ("model", "method", "field"),
    [("brightness", CLASSIFY, "classification_result"), ("rule", REGRESS, "regression_result")],
)
def test_multi_inference_answers_its_task(client, service, model, method, field):
    before = service.counted(model, "multi_inference", 200)
    sent = examples(example(pixels=[255] * 16)) if model == "brightness" else examples(example(x=[2.0]))
    request = pb.MultiInferenceRequest(input=sent)
    request.tasks.add(model_spec=model_spec(model, version=1), method_name=method)
    [result] = client.MultiInference(request).results
    assert result.model_spec == model_spec(model, version=1, signature="serving_default")
    assert result.WhichOneof("result") == field
    if model == "rule":
        assert [each.value for each in result.regression_result.regressions] == [3]
    else:
        assert classes(result.classification_result.classifications[0])[0][0] == "bright"
    assert service.counted(model, "multi_inference", 200) == before + 1


def test_metadata_is_that_of_rest(client, service):
    request = pb.GetModelMetadataRequest(model_spec=model_spec("words"), metadata_field=["signature_def"])
    reply = client.GetModelMetadata(request)
    assert reply.model_spec == model_spec("words", version=1)
    found = reply.metadata["signature_def"]
    assert found.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signature = pb.SignatureDefMap.FromString(found.value).signature_def["serving_default"]
    rest = service.client.get("/v1/models/words/metadata").json()["metadata"]["signature_def"]["signature_def"]
    want = rest["serving_default"]["inputs"]["token_ids"]
    info = signature.inputs["token_ids"]
    assert {
        "dtype": pb.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in info.tensor_shape.dim],
            "unknown_rank": info.tensor_shape.unknown_rank,
        },
        "name": info.name,
    } == want
    assert list(signature.outputs) == ["probabilities"]
    assert signature.method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize("spec", [{}, {"version": 1}, {"label": "stable"}])
def test_status_is_that_of_rest(client, service, spec):
    reply = client.GetModelStatus(pb.GetModelStatusRequest(model_spec=model_spec(**spec)))
    [found] = reply.model_version_status
    [rest] = service.client.get("/v1/models/brightness").json()["model_version_status"]
    assert (str(found.version), pb.ModelVersionStatus.State.Name(found.state)) == (rest["version"], rest["state"])
    assert (found.state, found.status.error_code, found.status.error_message) == (30, pb.OK, "")


def test_status_of_a_version_that_is_refused(tmp_path, start):
    directory = write_brightness_model(tmp_path)
    write_words_model(tmp_path)
    (directory / "model.onnx").write_bytes(b"broken")
    service = start(tmp_path)
    [found] = service.tfs.GetModelStatus(pb.GetModelStatusRequest(model_spec=model_spec())).model_version_status
    assert (found.state, found.status.error_code) == (pb.ModelVersionStatus.END, pb.FAILED_PRECONDITION)
    assert "model.onnx" in found.status.error_message
    code, details = refusal(service.tfs.predict, {"pixels": PIXELS})
    assert code == "UNAVAILABLE"
    assert "model.onnx" in details


def test_the_health_service_knows_both_services(service):
    for name in (PREDICTION, MODEL):
        call = service.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert call(b"\x0a" + bytes([len(name)]) + name.encode()) == b"\x08\x01"


def test_large_requests_are_read_and_answered_aside(client):
    reply = client.predict({"pixels": MANY.repeat(8, axis=0)})
    np.testing.assert_allclose(numbers(reply.outputs["probabilities"]), expected(MANY).repeat(8, axis=0), atol=1e-6)
    values = shaped("DT_UINT8", MANY.shape, int_val=MANY.ravel().tolist())
    assert client.predict({"pixels": values}) == client.predict({"pixels": MANY})
    sent = examples(*(example(pixels=image.ravel().tolist()) for image in MANY))
    reply = client.Classify(pb.ClassificationRequest(model_spec=model_spec(), input=sent))
    assert len(reply.result.classifications) == len(MANY)


def test_requests_are_counted_logged_and_their_errors_too(tmp_path, start):
    write_brightness_model(tmp_path)
    service = start(tmp_path, "--access-log", "all")
    service.tfs.predict({"pixels": PIXELS}, options={"metadata": (("x-request-id", "mine"),)})
    refusal(service.tfs.predict, {"wrong": PIXELS})
    refusal(service.tfs.predict, {"pixels": PIXELS}, "nope")
    assert service.counted("brightness", "predict", 200) == 1
    assert service.counted("brightness", "predict", 400) == 1
    for reported in ("request_id=mine", "code=400", "code=404"):
        service.wait_for_log("protocol=grpc:predict", also=reported)


def test_an_api_key_is_required_if_the_service_has_some(tmp_path, start):
    write_brightness_model(tmp_path / "models")
    (tmp_path / "keys.json").write_text('{"keys": []}')
    service = start(tmp_path / "models", environment={"ATELIER_API_KEYS_FILE": str(tmp_path / "keys.json")})
    assert refusal(service.tfs.predict, {"pixels": PIXELS})[0] == "UNAUTHENTICATED"
    request = pb.ClassificationRequest(model_spec=model_spec(), input=examples(example(pixels=[0] * 16)))
    assert refusal(service.tfs.Classify, request)[0] == "UNAUTHENTICATED"
    assert service.tfs.GetModelStatus(pb.GetModelStatusRequest(model_spec=model_spec())).model_version_status


def test_a_canary_gets_its_share_and_the_same_request_the_same_version(tmp_path, start):
    models = tmp_path / "models"
    write_brightness_model(models)
    publish(models, 2)
    write_policy(models, {"canary": {"percent": 50, "sticky_header": "x-user"}})
    service = start(models)

    def version(values, **options):
        return service.tfs.predict({"pixels": values}, options=options).model_spec.version.value

    rows = [MANY[index : index + 1] for index in range(60)]
    first = [version(row) for row in rows]
    assert set(first) == {1, 2}
    assert [version(row) for row in rows] == first
    for user in "abcdef":
        assert len({version(row, metadata=(("x-user", user),)) for row in rows[:8]}) == 1
    assert service.tfs.predict({"pixels": rows[0]}, version=1).model_spec.version.value == 1
    assert shadow(service)["requests"]["count"] > 0


def test_an_answer_after_the_deadline_of_the_call_is_refused(tmp_path, start):
    write_slow_model(tmp_path)
    service = start(tmp_path)
    busy = predict_request({"x": np.array([1], np.int32)}, "slow")
    service.tfs.Predict(busy)
    running = [service.tfs.Predict.future(busy) for _ in range(6)]
    wait_until(lambda: service.queued() == 5)

    def refused():
        code, _ = refusal_or_deadline(service, busy)
        assert code in {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
        return service.counted("slow", "predict", 429) > 0

    wait_until(refused)
    for call in running:
        call.cancel()
    wait_until(lambda: service.counted("slow", "predict", 499) > 0)


def test_calls_under_way_at_sigterm_are_answered(tmp_path, start):
    write_slow_model(tmp_path)
    service = start(tmp_path)
    busy = predict_request({"x": np.array([1], np.int32)}, "slow")
    service.tfs.Predict(busy)
    running = [service.tfs.Predict.future(busy) for _ in range(2)]
    wait_until(lambda: service.queued() == 1)
    assert Service.stop(service) == 0
    assert [call.result().outputs["y"].float_val for call in running] == [[1.0]] * 2


def test_a_graph_without_a_batch_takes_and_answers_whole_tensors(tmp_path, start):
    write_graph(
        tmp_path,
        "turn",
        [helper.make_node("Transpose", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, (2, 3))],
        [("y", TensorProto.FLOAT, (3, 2))],
    )
    service = start(tmp_path)
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    reply = service.tfs.predict({"x": values}, "turn")
    assert numbers(reply.outputs["y"]).tolist() == values.T.tolist()
    code, found = refusal(service.tfs.predict, {"x": values[None]}, "turn")
    assert (code, found) == (
        "INVALID_ARGUMENT",
        "unexpected shape for input 'x' for model 'turn'. Expected [2,3], got [1,2,3]",
    )


def refusal_or_deadline(service, request):
    call = service.tfs.Predict.future(request, timeout=0.1)
    return call.code().name, call.details()
