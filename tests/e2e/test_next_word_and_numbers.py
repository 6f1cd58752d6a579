"""Models that predict the next word, and models of numbers, from a published version to the answer."""

import os
import subprocess
import sys

import numpy as np
import pytest

from app.contract.manifest import write_manifest
from app.contract.tokenizer import LINE_END, UNKNOWN
from tests.support.service import ROOT, Service
from tests.support.tiny_models import FOLLOWS, VERSE, softmax, write_rule_model, write_verse_model

TEXT = {"content-type": "text/plain"}
NAMES = (UNKNOWN, *VERSE)
AFTER_THE = softmax(FOLLOWS[[4]])[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    write_verse_model(directory)
    write_rule_model(directory)
    return directory


@pytest.fixture(scope="module")
def client(models):
    service = Service(models)
    yield service.client
    assert service.stop() == 0


def run(*arguments):
    result = subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return result.returncode, result.stdout, result.stderr


def next_words(client, text, **options):
    reply = client.post("/v1/models/verse:classify", content=text.encode(), headers=TEXT, **options)
    assert reply.status_code == 200, reply.text
    return reply.json()["results"]


def test_the_next_words_of_a_text_the_likeliest_first(client):
    [row] = next_words(client, "Long live the")
    assert [word for word, _ in row] == ["king", ",", UNKNOWN, "the", LINE_END]
    np.testing.assert_allclose([p for _, p in row], np.sort(AFTER_THE)[::-1], atol=1e-6)  # float32 softmax
    assert next_words(client, "Long live the", params={"top_k": 2}) == [row[:2]]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("nobody knows", ","),
        ("The KING", LINE_END),
        ("the king\n", "the"),
        ("the king\r\n", "the"),
        ("the king\r", "the"),
        ("the king,", "the"),
        ("the king — ", LINE_END),
        ("the king,<br>", "the"),
        ("king " * 40 + "the", "king"),  # more tokens than the model reads: the end counts
    ],
)
def test_the_next_word_follows_from_the_last_token(client, text, word):
    assert next_words(client, text)[0][0][0] == word


def test_texts_of_different_length_in_one_request_get_the_same_answers_as_alone(client):
    texts = ["the", "Long live\nthe king", "\n,", "O king, the\n"]
    together = client.post("/v1/models/verse:classify", json={"examples": texts}).json()["results"]
    assert together == [next_words(client, text)[0] for text in texts]


def test_predict_gives_the_probability_of_every_token_but_padding(client):
    answers = [
        client.post("/v1/models/verse:predict", json={"instances": ["Long live the"]}),
        client.post("/v1/models/verse:predict", json={"instances": [[1, 1, 4]]}),
        client.post("/v1/models/verse:predict", json={"instances": [[1, 1, 4, 0, 0]]}),
        client.post("/v1/models/verse:predict", content=b"Long live the", headers=TEXT),
    ]
    assert len({answer.text for answer in answers}) == 1
    [row] = answers[0].json()["predictions"]
    assert len(row) == len(NAMES)
    np.testing.assert_allclose(row, AFTER_THE, atol=1e-6)  # float32 softmax


def test_an_id_beyond_the_vocabulary_is_refused(client):
    reply = client.post("/v1/models/verse:predict", json={"instances": [[1, 6]]})
    error = "instance 0 of 'token_ids': value 6 at [1] is outside 0 to 5"
    assert (reply.status_code, reply.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("verse", {"token_ids": ("DT_INT32", ["-1", "-1"])}, {"probabilities": ("DT_FLOAT", ["-1", "5"])}),
        ("rule", {"x": ("DT_FLOAT", ["-1", "1"])}, {"values": ("DT_FLOAT", ["-1", "1"])}),
    ],
)
def test_metadata_states_the_signature(client, model, inputs, outputs):
    document = client.get(f"/v1/models/{model}/metadata").json()
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    for part, expected in (("inputs", inputs), ("outputs", outputs)):
        assert {
            name: (tensor["dtype"], [dim["size"] for dim in tensor["tensor_shape"]["dim"]])
            for name, tensor in signature[part].items()
        } == expected


def test_numbers_in_numbers_out(client):
    assert client.post("/v1/models/rule:predict", json={"instances": [[10.0]]}).json() == {"predictions": [[19.0]]}
    reply = client.post("/v1/models/rule:predict", json={"instances": [{"x": [-0.25]}, {"x": [1e3]}]})
    assert reply.json() == {"predictions": [[-1.5], [1999.0]]}
    reply = client.post("/v1/models/rule:predict", json={"inputs": {"x": [[0], [1]]}})
    assert reply.json() == {"outputs": [[-1.0], [1.0]]}
    octets = np.array([3, 4], "<f4").tobytes()
    reply = client.post("/v1/models/rule:predict", content=octets, headers={"content-type": "application/octet-stream"})
    assert reply.json() == {"predictions": [[5.0], [7.0]]}


@pytest.mark.parametrize("body", [{"json": {"examples": [{"x": [10.0]}]}}, {"content": b"10"}, {"content": b""}])
def test_numbers_are_not_classified(client, body):
    reply = client.post("/v1/models/rule:classify", **body)
    error = "model 'rule' does not classify; use :predict"
    assert (reply.status_code, reply.json()) == (400, {"error": error})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"json": {"instances": [10.0]}}, "an instance of 'x' is one number; expected float32 of shape (1,)"),
        ({"json": {"instances": [[1e39]]}}, "instance 0 of 'x': value 1e+39 at [0] is outside -3.40282e+38 to"),
        ({"content": b'{"instances": [[NaN]]}'}, "instance 0 of 'x': value nan at [0] is not a finite number"),
        ({"json": {"instances": ["10"]}}, "model 'rule' takes neither images nor text; it takes tensors: 'x'"),
        (
            {"content": b"10", "headers": TEXT},
            "the body was read as text; model 'rule' takes JSON (application/json) with 'x' (float32 of shape (1,))",
        ),
    ],
)
def test_a_value_that_is_not_a_row_of_numbers_is_refused(client, body, error):
    reply = client.post("/v1/models/rule:predict", **body)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith(error)


def test_models_lists_inputs_answers_and_accuracy_of_each_kind(models):
    code, text, _ = run("models", "--models-dir", models)
    assert code == 0
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "rule, version 1",
        "takes tensor: x float32[1]",
        "answers tensors",
        "measured RMSE 0.2 on test data",
        "verse, version 1",
        "takes text: token_ids int32[-1]",
        "answers the next word",
        "measured perplexity 3.1 on test data",
    ]


def test_predict_prints_the_next_words(models, tmp_path):
    (tmp_path / "verse.txt").write_bytes(b"the king,\r\n")
    code, text, _ = run("predict", "verse", "Long live the", "--models-dir", models)
    assert (code, text.split()) == (0, ["0.6364", "king", "0.2341", ",", "0.0861", UNKNOWN])
    code, text, _ = run("predict", "verse", tmp_path / "verse.txt", "--top-k", 1, "--models-dir", models)
    assert (code, text.split()) == (0, ["0.6364", "the"])


def test_predict_refuses_numbers_as_text(models):
    code, text, error = run("predict", "rule", "10", "--models-dir", models)
    assert (code, text) == (2, "")
    assert error == "error: there is no file '10'; model 'rule' takes a .json file\n"


REFUSED = {
    "changed": "output 'probabilities' differs from Keras by",
    "mislabelled": "golden sample the.txt: answered 'king', Keras answered ','",
    "longer": "the vocabulary gives ids 0 to 6, 'token_ids' states 0.0 to 5.0",
    "other": "golden sample the.txt: answered 'queen', Keras answered 'king'",
}


def test_one_weight_one_raw_sample_or_another_vocabulary_is_refused_at_load(tmp_path):
    write_verse_model(tmp_path, name="whole")
    scores = FOLLOWS.copy()
    scores[3, 1] += 0.01
    write_verse_model(tmp_path, name="changed", scores=scores)
    write_verse_model(tmp_path, name="mislabelled", label=",")
    for name, words in (("longer", [*VERSE, "queen"]), ("other", [LINE_END, "queen", "the", ","])):
        directory = write_verse_model(tmp_path, name=name)
        (directory / "vocabulary.txt").write_text("\n".join(words))
        write_manifest(directory)
    service = Service(tmp_path)
    try:
        found = {
            name: service.client.get(f"/v1/models/{name}").json()["model_version_status"][0]
            for name in ("whole", *REFUSED)
        }
    finally:
        service.stop()
    assert (found["whole"]["state"], found["whole"]["status"]["error_message"]) == ("AVAILABLE", "")
    for name, reason in REFUSED.items():
        assert found[name]["state"] == "END"
        assert reason in found[name]["status"]["error_message"]
