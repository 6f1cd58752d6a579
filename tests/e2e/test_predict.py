"""Good input in every form gives the same answer."""

import base64
import gzip
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.support.images import encode, png
from tests.support.tiny_models import SIDE, softmax

PIXELS = np.random.default_rng(7).integers(0, 256, (5, SIDE, SIDE), dtype=np.uint8)
OCTETS = {"content-type": "application/octet-stream"}


def expected(pixels):
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    return softmax(np.stack([127.5 - flat.mean(axis=1), flat.mean(axis=1) - 127.5], axis=1))


def predictions(reply):
    assert reply.status_code == 200, reply.text
    return np.array(reply.json()["predictions"], np.float32)


def test_json_rows_in_the_order_sent(tiny):
    reply = tiny.post("/v1/models/brightness:predict", json={"instances": PIXELS.tolist()})
    np.testing.assert_allclose(predictions(reply), expected(PIXELS), atol=1e-6)


def test_columnar_json_answers_outputs(tiny):
    bare = tiny.post("/v1/models/brightness:predict", json={"inputs": PIXELS.tolist()}).json()
    named = tiny.post("/v1/models/brightness:predict", json={"inputs": {"pixels": PIXELS.tolist()}}).json()
    assert bare == named
    np.testing.assert_allclose(bare["outputs"], expected(PIXELS), atol=1e-6)


def test_unknown_members_of_columnar_inputs_are_ignored_as_tensorflow_serving_does(tiny):
    body = {"inputs": {"pixels": PIXELS.tolist(), "comment": "x"}}
    assert tiny.post("/v1/models/brightness:predict", json=body).status_code == 200


def test_rows_of_named_inputs(tiny):
    rows = [{"pixels": row.tolist()} for row in PIXELS]
    reply = tiny.post("/v1/models/brightness:predict", json={"instances": rows})
    np.testing.assert_allclose(predictions(reply), expected(PIXELS), atol=1e-6)


def test_whole_numbers_written_as_fractions_are_accepted(tiny):
    rows = PIXELS.astype(float).tolist()
    assert "." in json.dumps(rows)
    reply = tiny.post("/v1/models/brightness:predict", json={"instances": rows})
    np.testing.assert_allclose(predictions(reply), expected(PIXELS), atol=1e-6)


def test_a_png_a_tensor_base64_and_raw_bytes_give_the_same_answer(tiny):
    one = PIXELS[:1]
    path = "/v1/models/brightness:predict"
    answers = [
        tiny.post(path, json={"instances": one.tolist()}),
        tiny.post(path, content=one.tobytes(), headers=OCTETS),
        tiny.post(path, content=png(one[0]), headers={"content-type": "image/png"}),
        tiny.post(path, json={"instances": [{"b64": base64.b64encode(png(one[0])).decode()}]}),
        tiny.post(path, files={"image": ("a.png", png(one[0]))}),
    ]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].status_code == 200


def test_raw_bytes_of_several_rows(tiny):
    reply = tiny.post("/v1/models/brightness:predict", content=PIXELS.tobytes(), headers=OCTETS)
    np.testing.assert_allclose(predictions(reply), expected(PIXELS), atol=1e-6)


def test_a_request_larger_than_a_batch_is_split_and_rejoined_in_order(tiny):
    many = np.random.default_rng(3).integers(0, 256, (61, SIDE, SIDE), dtype=np.uint8)  # a batch has at most 8
    reply = tiny.post("/v1/models/brightness:predict", content=many.tobytes(), headers=OCTETS)
    np.testing.assert_allclose(predictions(reply), expected(many), atol=1e-6)


def test_a_form_with_several_files_answers_one_row_each(tiny):
    files = [("image", (f"{i}.png", png(row))) for i, row in enumerate(PIXELS)]
    reply = tiny.post("/v1/models/brightness:predict", files=files)
    np.testing.assert_allclose(predictions(reply), expected(PIXELS), atol=1e-6)


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(tiny, name, compress):
    body = compress(json.dumps({"instances": PIXELS.tolist()}).encode())
    reply = tiny.post("/v1/models/brightness:predict", content=body, headers={"content-encoding": name})
    np.testing.assert_allclose(predictions(reply), expected(PIXELS), atol=1e-6)


@pytest.mark.parametrize("members", [2, 3, 9, 400])
def test_a_gzip_body_of_several_members_is_one_body(tiny, members):
    whole = json.dumps({"instances": PIXELS.tolist()}).encode().ljust(100_000)
    size = -(-len(whole) // members)
    body = b"".join(gzip.compress(whole[at : at + size]) for at in range(0, len(whole), size))
    reply = tiny.post("/v1/models/brightness:predict", content=body, headers={"content-encoding": "gzip"})
    np.testing.assert_allclose(predictions(reply), expected(PIXELS), atol=1e-6)


def test_a_chunked_body(tiny):
    chunks = iter([b'{"instances"', b": [1, 2", b", 3]}"])
    assert tiny.post("/v1/models/fragile:predict", content=chunks).json() == {"predictions": [[1.0], [4.0], [9.0]]}


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", None])
def test_json_is_accepted_with_every_content_type(tiny, content_type):
    headers = {"content-type": content_type} if content_type else {}
    reply = tiny.post("/v1/models/fragile:predict", content=b'{"instances": [3]}', headers=headers)
    assert reply.json() == {"predictions": [[9.0]]}


@pytest.mark.parametrize("path", ["/v1/models/fragile/versions/1:predict", "/V1/Models/fragile:PREDICT"])
def test_a_version_in_the_path_and_upper_case(tiny, path):
    assert tiny.post(path, json={"instances": [3]}).json() == {"predictions": [[9.0]]}


def test_bytes_after_the_document_are_ignored_as_tensorflow_serving_does(tiny):
    reply = tiny.post("/v1/models/fragile:predict", content=b'{"instances": [3]} trailing')
    assert reply.json() == {"predictions": [[9.0]]}


def test_texts_as_rows_answer_in_order(tiny):
    reply = tiny.post("/v1/models/words:predict", json={"instances": ["good good film", "bad", "film"]})
    np.testing.assert_allclose(predictions(reply), softmax(np.array([[0, 2], [1, 0], [0, 0]])), atol=1e-6)


def test_a_text_and_its_token_ids_give_the_same_answer(tiny):
    text = tiny.post("/v1/models/words:predict", json={"instances": ["A good film!"]})
    ids = tiny.post("/v1/models/words:predict", json={"instances": [[1, 2, 4, 1]]})
    padded = tiny.post("/v1/models/words:predict", json={"instances": [[1, 2, 4, 1, 0, 0]]})
    assert text.text == ids.text == padded.text


def test_classify_a_text_best_label_first(tiny):
    reply = tiny.post("/v1/models/words:classify", content="bad, bad film", headers={"content-type": "text/plain"})
    [[first, second]] = reply.json()["results"]
    assert (first[0], second[0]) == ("negative", "positive")
    assert first[1] == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)


@pytest.mark.parametrize(
    "request_",
    [
        {"content": b"a bad film"},
        {"content": b"a bad film", "headers": {"content-type": "application/x-www-form-urlencoded"}},
        {"data": {"text": "a bad film"}},
        {"files": {"text": ("review.txt", b"a bad film")}},
        {"json": {"examples": [{"text": "a bad film"}]}},
        {"json": {"examples": ["a bad film"]}},
        {"json": {"examples": [{"b64": base64.b64encode(b"a bad film").decode()}]}},
        {"json": {"examples": [{"text": {"b64": base64.b64encode(b"a bad film").decode()}}]}},
        {"json": {"examples": [{"token_ids": [1, 3, 4]}]}},
        {"json": {"context": {"text": "a bad film"}, "examples": [{}]}},
    ],
)
def test_every_way_to_classify_a_text(tiny, request_):
    reply = tiny.post("/v1/models/words:classify", **request_)
    assert reply.status_code == 200, reply.text
    assert reply.json()["results"][0][0][0] == "negative"


def test_top_k_limits_the_labels(tiny):
    reply = tiny.post("/v1/models/words:classify", params={"top_k": 1}, content=b"good")
    assert [[label for label, _ in row] for row in reply.json()["results"]] == [["positive"]]


def test_a_large_photograph_goes_through_the_steps_of_the_model(tiny):
    photo = encode(Image.new("RGB", (300, 200), (250, 240, 230)), "JPEG")
    reply = tiny.post("/v1/models/brightness:classify", content=photo, headers={"content-type": "image/jpeg"})
    assert reply.json()["results"][0][0][0] == "bright"


def test_curl_data_binary_of_an_image_without_a_type(tiny):
    reply = tiny.post(
        "/v1/models/brightness:classify",
        content=png(np.full((4, 4), 200, np.uint8)),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert reply.json()["results"][0][0][0] == "bright"


def test_the_reply_reports_the_time_of_each_phase(tiny):
    reply = tiny.post("/v1/models/fragile:predict", json={"instances": [3]})
    stages = [part.split(";")[0].strip() for part in reply.headers["server-timing"].split(",")]
    assert stages == ["read", "decode", "queue", "compute", "encode"]


def test_a_bad_row_of_one_client_does_not_fail_its_neighbours(tiny):
    import concurrent.futures

    def ask(index):
        reply = tiny.post("/v1/models/fragile:predict", json={"instances": [index]})
        return reply.status_code, reply.json()

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, [i if i % 4 else 50 for i in range(64)]))
    for index, (code, body) in enumerate(answers):
        if index % 4 == 0:
            assert code == 500
        elif index < 10:
            assert (code, body) == (200, {"predictions": [[float(index**2)]]})
