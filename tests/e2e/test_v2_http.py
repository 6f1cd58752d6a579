"""The Open Inference Protocol over REST, driven by Triton's own client."""

import asyncio

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from app import __version__
from tests.support.service import Service
from tests.support.tiny_inputs import MANY, PIXELS, TEXTS, expected
from tests.support.tiny_models import SIDE, write_rule_model
from tests.support.triton_http import pixels, tensor
from tests.support.triton_settings import settings_calls


@pytest.fixture
def client(tiny):
    """Triton's client of the same service; closed afterwards, as it keeps its connections."""
    client = triton.InferenceServerClient(str(tiny.base_url).removeprefix("http://").rstrip("/"), concurrency=8)
    yield client
    client.close()


def refusal(call, *arguments, **options):
    with pytest.raises(InferenceServerException) as caught:
        call(*arguments, **options)
    return caught.value.status(), caught.value.message()


def test_live_and_ready(client):
    assert client.is_server_live()
    assert client.is_server_ready()


def test_readiness_of_models_and_versions(client):
    assert client.is_model_ready("brightness")
    assert client.is_model_ready("brightness", "1")
    assert not client.is_model_ready("brightness", "2")
    assert not client.is_model_ready("nope")


def test_server_metadata_names_the_extensions(client):
    metadata = client.get_server_metadata()
    assert (metadata["name"], metadata["version"]) == ("atelier", __version__)
    assert {"classification", "binary_tensor_data", "statistics", "model_repository"} <= set(metadata["extensions"])


def test_model_metadata_has_the_batch_in_its_shapes(client):
    want = {
        "name": "brightness",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [-1, SIDE, SIDE]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert client.get_model_metadata("brightness") == want
    assert client.get_model_metadata("brightness", "1") == want


def test_a_text_model_lists_exactly_one_input_of_token_ids(client):
    assert client.get_model_metadata("words")["inputs"] == [
        {"name": "token_ids", "datatype": "INT32", "shape": [-1, -1]}
    ]


def test_log_and_trace_settings_are_refused_with_the_reason(client):
    for call, what in settings_calls(client):
        status, message = refusal(call)
        assert (status, message.split(":")[0]) == ("501", f"{what} settings are not supported")


def test_the_list_of_models(tiny):
    assert tiny.get("/v2/models").json() == {"models": ["brightness", "fragile", "words"]}


def test_model_config_shows_the_batching_rules_in_effect(client):
    config = client.get_model_config("brightness")
    pixels = {"name": "pixels", "data_type": "TYPE_UINT8", "dims": [SIDE, SIDE], "format": "FORMAT_NONE"}
    assert config["input"] == [pixels]
    assert config["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [2]}]
    assert config["max_batch_size"] in config["latency_curve"]["batch_sizes"]
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == 0
    assert config["dynamic_batching"]["default_queue_policy"]["default_timeout_microseconds"] == 30_000_000
    assert config["parameters"]["max_execution_ms"] == {"string_value": "30000"}
    assert all(parameter["string_value"] for parameter in config["parameters"].values())  # PyTriton's client needs it
    assert not config["model_transaction_policy"]["decoupled"]


def test_config_of_a_text_model_shows_its_length_buckets(client):
    config = client.get_model_config("words", "1")
    buckets = [int(limit) for limit in config["parameters"]["length_buckets"]["string_value"].split(",")]
    assert buckets == sorted(set(buckets))
    assert buckets[-1] == 16
    assert config["latency_curve"]["lengths"] == [1, 4, 16]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_json_and_binary_in_any_mixture_give_the_same_answers(client, binary_in, binary_out):
    outputs = [triton.InferRequestedOutput("probabilities", binary_data=binary_out)]
    result = client.infer("brightness", pixels(binary=binary_in), outputs=outputs)
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(PIXELS), atol=1e-6)
    size = result.get_output("probabilities").get("parameters", {}).get("binary_data_size")
    assert size == (5 * 2 * 4 if binary_out else None)


def test_infer_without_outputs_answers_all_of_them_as_binary(client):
    result = client.infer("brightness", pixels())
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(PIXELS), atol=1e-6)
    response = result.get_response()
    assert (response["model_name"], response["model_version"]) == ("brightness", "1")
    assert "id" not in response


def test_flat_and_nested_json_data_are_the_same(tiny):
    def infer(data):
        entry = {"name": "pixels", "datatype": "UINT8", "shape": [5, SIDE, SIDE], "data": data}
        return tiny.post("/v2/models/brightness/infer", json={"inputs": [entry]})

    flat, nested = infer(PIXELS.reshape(-1).tolist()), infer(PIXELS.tolist())
    assert flat.status_code == 200, flat.text
    assert flat.json() == nested.json()
    output = flat.json()["outputs"][0]
    assert (output["datatype"], output["shape"], len(output["data"])) == ("FP32", [5, 2], 10)


def test_token_ids_of_any_length(client):
    ids = np.array([[2, 4, 0, 0], [3, 3, 3, 4]], np.int32)
    result = client.infer("words", [tensor("token_ids", ids, "INT32")])
    assert result.as_numpy("probabilities").argmax(axis=1).tolist() == [1, 0]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_texts_as_bytes_are_tokenised_by_the_models_own_contract(client, binary, shape):
    texts = np.array([text.encode() for text in TEXTS], object).reshape(shape)
    result = client.infer("words", [tensor("token_ids", texts, "BYTES", binary=binary)])
    ids = np.array([[1, 2, 4, 0, 0], [3, 0, 0, 0, 0], [2, 2, 3, 4, 4]], np.int32)
    same = client.infer("words", [tensor("token_ids", ids, "INT32")])
    assert (result.as_numpy("probabilities") == same.as_numpy("probabilities")).all()


def test_narrower_types_are_widened_exactly(client):
    ids = np.array([[2, 4], [3, 3]], np.int16)
    result = client.infer("words", [tensor("token_ids", ids, "INT16")])
    assert result.as_numpy("probabilities").argmax(axis=1).tolist() == [1, 0]


def test_half_precision_is_taken_as_binary_and_refused_as_json(numbers):
    client, http = numbers
    values = np.array([[0.5], [-2]], np.float16)
    result = client.infer("rule", [tensor("x", values, "FP16")])
    assert result.as_numpy("values").tolist() == [[0.0], [-5.0]]
    entry = {"name": "x", "datatype": "FP16", "shape": [1, 1], "data": [0.5]}
    reply = http.post("/v2/models/rule/infer", json={"inputs": [entry]})
    assert reply.status_code == 400
    assert reply.json() == {"error": "input 'x' has datatype FP16, which JSON cannot hold; send it as binary data"}


def test_class_count_answers_the_best_classes_with_their_labels(client):
    outputs = [triton.InferRequestedOutput("probabilities", class_count=2)]
    result = client.infer("brightness", pixels(np.full((1, SIDE, SIDE), 128, np.uint8)), outputs=outputs)
    best, worst = (text.decode().split(":") for text in result.as_numpy("probabilities")[0])
    assert best[1:] == ["1", "bright"]
    assert worst[1:] == ["0", "dark"]
    assert float(best[0]) == pytest.approx(0.7310586, abs=1e-6)
    assert str(np.float32(best[0])) == best[0]


def test_class_count_beyond_the_classes_answers_all_of_them_as_json(client):
    outputs = [triton.InferRequestedOutput("probabilities", class_count=9, binary_data=False)]
    result = client.infer("brightness", pixels(), outputs=outputs)
    assert result.get_output("probabilities")["shape"] == [5, 2]
    assert result.as_numpy("probabilities").shape == (5, 2)


def test_the_reply_has_the_id_of_the_request(client):
    assert client.infer("brightness", pixels(), request_id="17-b").get_response()["id"] == "17-b"


def test_a_version_in_the_path(client):
    assert client.infer("brightness", pixels(), model_version="1").get_response()["model_version"] == "1"
    status, message = refusal(client.infer, "brightness", pixels(), model_version="7")
    assert (status, message) == ("404", "Could not find version 7 of model brightness; known versions: 1")


def test_priority_and_timeout_are_taken(client):
    result = client.infer("brightness", pixels(), priority=1, timeout=2_000_000)
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(PIXELS), atol=1e-6)


def test_parameters_of_the_clients_own_are_let_through(client):
    assert client.infer("brightness", pixels(), parameters={"trace": "abc"}).as_numpy("probabilities").shape == (5, 2)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression_both_ways(client, algorithm):
    result = client.infer(
        "brightness",
        pixels(MANY),
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected(MANY), atol=1e-6)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_large_reply_is_compressed_with_accept_encoding_and_a_small_one_is_not(tiny, algorithm):
    headers = {"accept-encoding": algorithm, "inference-header-content-length": "0"}
    assert (
        "content-encoding"
        not in tiny.post("/v2/models/brightness/infer", content=PIXELS[0].tobytes(), headers=headers).headers
    )
    entry = {"name": "pixels", "datatype": "UINT8", "shape": [400, SIDE, SIDE], "data": MANY.reshape(-1).tolist()}
    body = {"inputs": [entry]}
    packed = tiny.post("/v2/models/brightness/infer", json=body, headers={"accept-encoding": algorithm})
    plain = tiny.post("/v2/models/brightness/infer", json=body, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == algorithm
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    assert packed.json() == plain.json()


def test_an_encoding_that_is_refused_is_not_used(tiny):
    entry = {"name": "pixels", "datatype": "UINT8", "shape": [400, SIDE, SIDE], "data": MANY.reshape(-1).tolist()}
    headers = {"accept-encoding": "gzip;q=0, deflate;q=0.5, br"}
    reply = tiny.post("/v2/models/brightness/infer", json={"inputs": [entry]}, headers=headers)
    assert reply.headers["content-encoding"] == "deflate"


def test_raw_bytes_are_one_instance_and_the_answer_is_binary(tiny):
    headers = {"inference-header-content-length": "0"}
    reply = tiny.post("/v2/models/brightness/infer", content=PIXELS[0].tobytes(), headers=headers)
    assert reply.status_code == 200, reply.text
    head = int(reply.headers["inference-header-content-length"])
    np.testing.assert_allclose(np.frombuffer(reply.content[head:], np.float32), expected(PIXELS[:1])[0], atol=1e-6)
    ids = np.array([2, 4], np.int32)
    assert tiny.post("/v2/models/words/infer", content=ids.tobytes(), headers=headers).status_code == 200


def test_a_model_whose_name_has_a_space(numbers):
    client, _ = numbers
    assert client.is_model_ready("a rule")
    result = client.infer("a rule", [tensor("x", np.array([[2]], np.float32), "FP32")])
    assert result.as_numpy("values").tolist() == [[3.0]]


def test_a_hundred_simultaneous_requests(client):
    pending = [client.async_infer("brightness", pixels(MANY[i : i + 1])) for i in range(100)]
    answers = np.concatenate([request.get_result().as_numpy("probabilities") for request in pending])
    np.testing.assert_allclose(answers, expected(MANY[:100]), atol=1e-6)


def test_the_aio_client_reuses_its_connection_after_an_error(tiny):
    url = str(tiny.base_url).removeprefix("http://").rstrip("/")

    async def main():
        async with triton_aio.InferenceServerClient(url, conn_limit=1) as client:
            assert await client.is_server_ready()
            with pytest.raises(InferenceServerException, match="unexpected inference input"):
                await client.infer("brightness", [tensor("wrong", MANY, "UINT8", api=triton_aio)])
            with pytest.raises(InferenceServerException, match="Request for unknown model"):
                await client.infer("nope", [tensor("pixels", MANY, "UINT8", api=triton_aio)])
            given = [tensor("pixels", PIXELS, "UINT8", api=triton_aio)]
            results = await asyncio.gather(*(client.infer("brightness", given) for _ in range(20)))
            return [result.as_numpy("probabilities") for result in results]

    for answer in asyncio.run(main()):
        np.testing.assert_allclose(answer, expected(PIXELS), atol=1e-6)


def test_statistics_count_rows_runs_and_failures(own_service):
    client, _ = own_service
    for rows in (1, 3):
        client.infer("brightness", pixels(PIXELS[:rows]))
    refusal(client.infer, "brightness", [tensor("wrong", PIXELS, "UINT8")])
    entry = client.get_inference_statistics("brightness", "1")["model_stats"][0]
    assert (entry["name"], entry["version"]) == ("brightness", "1")
    assert (entry["inference_count"], entry["execution_count"]) == (4, 2)
    assert entry["inference_stats"]["success"]["count"] == 2
    assert entry["inference_stats"]["fail"]["count"] == 1
    assert entry["inference_stats"]["queue"]["count"] == 2
    assert 0 < entry["inference_stats"]["compute_infer"]["ns"] < entry["inference_stats"]["success"]["ns"]
    assert [(batch["batch_size"], batch["compute_infer"]["count"]) for batch in entry["batch_stats"]] == [
        (1, 1),
        (3, 1),
    ]
    assert entry["last_inference"] > 1_700_000_000_000
    names = [each["name"] for each in client.get_inference_statistics()["model_stats"]]
    assert names == ["brightness", "fragile", "words"]
    assert client.get_inference_statistics("words")["model_stats"][0]["inference_count"] == 0


@pytest.fixture
def own_service(tiny_models):
    """A service of this test alone: Triton's client and a plain one."""
    yield from serve(tiny_models)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A service over two models of numbers."""
    models = tmp_path_factory.mktemp("numbers")
    write_rule_model(models)
    write_rule_model(models, name="a rule")
    yield from serve(models)


def serve(models, *arguments):
    service = Service(models, *arguments)
    client = triton.InferenceServerClient(service.url.removeprefix("http://"))
    try:
        yield client, service.client
    finally:
        client.close()
        assert service.stop() == 0
