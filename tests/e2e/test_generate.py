"""Text token by token: Triton's generate and generate_stream on a model that predicts the next word."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from app.contract.tokenizer import split_tokens
from tests.support.service import Service, sample
from tests.support.tiny_models import SIDE, write_brightness_model, write_verse_model, write_words_model

SHAKESPEARE = "shakespeare-next-word-lstm"
PUBLISHED = Path(__file__).parents[2] / "models" / SHAKESPEARE


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    models = tmp_path_factory.mktemp("texts")
    write_verse_model(models)
    write_brightness_model(models)
    write_words_model(models)
    (models / SHAKESPEARE).symlink_to(PUBLISHED)
    service = Service(models)
    yield service
    assert service.stop() == 0


@pytest.fixture(scope="module")
def client(service):
    return service.client


def generate(client, text, *, model="verse", **parameters):
    reply = client.post(f"/v2/models/{model}/generate", json={"text_input": text, "parameters": parameters})
    assert reply.status_code == 200, reply.text
    document = reply.json()
    assert (document["model_name"], document["model_version"]) == (model, "2" if model == SHAKESPEARE else "1")
    return document["text_output"]


def stream(client, text, *, model="verse", **parameters):
    body = {"text_input": text, "parameters": parameters}
    with client.stream("POST", f"/v2/models/{model}/generate_stream", json=body) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = list(reply.iter_lines())
    events = [line.removeprefix("data: ") for line in lines if line]
    assert lines == [part for event in events for part in (f"data: {event}", "")]
    return [json.loads(event)["text_output"] for event in events]


def test_temperature_zero_takes_the_likeliest_token_each_time(client):
    # After "the" comes "king", after "king" the end of the line, after that "the": see FOLLOWS.
    assert generate(client, "Long live the", temperature=0, max_tokens=5) == " king\nthe king\n"


def test_the_stream_contains_the_same_text_in_pieces(client):
    assert stream(client, "Long live the", temperature=0, max_tokens=5) == [" king", "\n", "the", " king", "\n"]


def test_top_k_of_one_is_the_likeliest_token_too(client):
    assert generate(client, "the", top_k=1, max_tokens=4, seed=3) == " king\nthe king"


def test_parameters_may_be_next_to_the_text(client):
    body = {"text_input": "the", "max_tokens": 2, "temperature": 0, "stream": False}
    assert client.post("/v2/models/verse/generate", json=body).json()["text_output"] == " king\n"


def test_a_version_in_the_path(client):
    body = {"text_input": "the", "max_tokens": 1, "temperature": 0}
    assert client.post("/v2/models/verse/versions/1/generate", json=body).json()["text_output"] == " king"
    assert client.post("/v2/models/verse/versions/2/generate", json=body).status_code == 404


@pytest.mark.parametrize(
    ("stop", "text", "pieces"),
    [("\n", " king", [" king"]), (["g\nthe"], " kin", [" kin"]), ([" king"], "", []), ("never", None, None)],
)
def test_a_stop_string_ends_the_text_and_is_not_part_of_it(client, stop, text, pieces):
    whole = generate(client, "the", temperature=0, max_tokens=6)
    want = whole if text is None else text
    assert generate(client, "the", temperature=0, max_tokens=6, stop=stop) == want
    streamed = stream(client, "the", temperature=0, max_tokens=6, stop=stop)
    assert "".join(streamed) == want
    assert pieces is None or streamed == pieces


def test_a_seed_gives_the_same_text_again_and_another_seed_another(client):
    texts = {generate(client, "First Citizen:", model=SHAKESPEARE, seed=seed, max_tokens=20) for seed in (1, 1, 2, 3)}
    assert len(texts) == 3


def test_without_a_seed_texts_differ(client):
    assert len({generate(client, "My lord,", model=SHAKESPEARE, max_tokens=20) for _ in range(3)}) == 3


def test_many_streams_share_batches_and_each_gets_the_text_that_it_gets_alone(client, service):
    prompts = [("Speak,", 11), ("My gracious lord", 12), ("What is the", 13), ("O", 14)] * 4
    alone = [generate(client, text, model=SHAKESPEARE, seed=seed, max_tokens=40) for text, seed in prompts[:4]] * 4
    before = client.get(f"/v2/models/{SHAKESPEARE}/stats").json()["model_stats"][0]

    def ask(prompt):
        text, seed = prompt
        with httpx.Client(base_url=service.url, timeout=60) as own:
            return "".join(stream(own, text, model=SHAKESPEARE, seed=seed, max_tokens=40))

    with ThreadPoolExecutor(len(prompts)) as pool:
        together = list(pool.map(ask, prompts))
    after = client.get(f"/v2/models/{SHAKESPEARE}/stats").json()["model_stats"][0]
    assert together == alone
    rows = after["inference_count"] - before["inference_count"]
    runs = after["execution_count"] - before["execution_count"]
    assert rows == 16 * 40
    assert runs < rows / 1.5


def test_the_unknown_token_is_never_written_and_the_text_splits_into_its_tokens_again(client):
    text = generate(client, "ROMEO:", model=SHAKESPEARE, seed=5, max_tokens=200)
    assert "<unknown>" not in text
    assert len(split_tokens("ROMEO:" + text, "lines")) == 2 + 200


def test_a_client_that_leaves_ends_the_generation(client, service):
    before = sample(client, "atelier_requests_total", protocol="v2:generate_stream", code="499")
    body = {"text_input": "the", "parameters": {"max_tokens": 1000}}
    with httpx.stream("POST", f"{service.url}/v2/models/{SHAKESPEARE}/generate_stream", json=body) as reply:
        next(reply.iter_lines())
    deadline = time.monotonic() + 10
    while sample(client, "atelier_requests_total", protocol="v2:generate_stream", code="499") == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    rows = client.get(f"/v2/models/{SHAKESPEARE}/stats").json()["model_stats"][0]["inference_count"]
    time.sleep(0.2)
    assert client.get(f"/v2/models/{SHAKESPEARE}/stats").json()["model_stats"][0]["inference_count"] == rows


def test_a_timeout_is_that_of_the_whole_text(client):
    body = {"text_input": "the", "parameters": {"max_tokens": 1000, "timeout": 20_000}}
    reply = client.post(f"/v2/models/{SHAKESPEARE}/generate", json=body)
    assert reply.status_code in {504, 429}
    with client.stream("POST", f"/v2/models/{SHAKESPEARE}/generate_stream", json=body) as streamed:
        assert streamed.status_code == 200
        events = [json.loads(line.removeprefix("data: ")) for line in streamed.iter_lines() if line]
    assert "text_output" in events[0]
    assert events[-1].keys() == {"error"}


def test_curl_shows_the_pieces(service):
    body = json.dumps({"text_input": "the", "temperature": 0, "max_tokens": 2})
    done = subprocess.run(
        ["curl", "-sN", "-d", body, f"{service.url}/v2/models/verse/generate_stream"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == (
        'data: {"model_name":"verse","model_version":"1","text_output":" king"}\n\n'
        'data: {"model_name":"verse","model_version":"1","text_output":"\\n"}\n\n'
    )


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "'text_input' is missing; send a string"),
        ({"text_input": None}, "'text_input' is null; send a string"),
        ({"text": "a", "seed": 1}, "'text_input' is missing; key 'text' is unknown; send a string"),
        ({"text_input": 7}, "'text_input' is a number; send a string"),
        ({"text_input": " "}, "text is empty; send at least one word"),
        ({"text_input": "a", "parameters": 3}, "'parameters' is a number; send an object {key: value}"),
        ({"text_input": "a", "parameters": False}, "'parameters' is false; send an object {key: value}"),
        (
            {"text_input": "a", "max_tokens": 0},
            "parameter 'max_tokens' is 0; send a whole number from 1 to 1024",
        ),
        (
            {"text_input": "a", "parameters": {"max_tokens": 1025}},
            "parameter 'max_tokens' is 1025; send a whole number from 1 to 1024",
        ),
        ({"text_input": "a", "temperature": -1}, "parameter 'temperature' is -1; send a number from 0 to 100"),
        ({"text_input": "a", "temperature": "hot"}, "parameter 'temperature' is 'hot'; send a number from 0 to 100"),
        ({"text_input": "a", "top_k": 1.5}, "parameter 'top_k' is 1.5; send a whole number from 0 to 2147483647"),
        (
            {"text_input": "a", "seed": True},
            "parameter 'seed' is True; send a whole number from 0 to 18446744073709551615",
        ),
        (
            {"text_input": "a", "stop": [""]},
            "parameter 'stop' is an array; send a string of 1 to 256 characters, or a list of at most 16 of them",
        ),
        (
            {"text_input": "a", "top_p": 0.9},
            "parameter 'top_p' is unknown; generate takes id, max_tokens, priority, seed, stop, stream, temperature, "
            "timeout, top_k",
        ),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_before_the_first_event(client, verb, body, error):
    reply = client.post(f"/v2/models/verse/{verb}", json=body)
    assert (reply.status_code, reply.json()) == (400, {"error": error})
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 5e-324},
        {"temperature": 1e-308},
        {"temperature": 100},
        {"temperature": -0.0},
        {"top_k": 2**31 - 1, "temperature": 100},
        {"top_k": 1, "temperature": 5e-324},
        {"seed": 0},
        {"seed": 2**64 - 1, "temperature": 5e-324},
        {"stop": []},
        {"stop": ["\0" * 256] * 16},
        {"priority": 1},
        {"timeout": 2**64 - 1},
    ],
)
def test_every_extreme_of_a_parameter_that_is_allowed_is_answered(client, parameters):
    assert generate(client, "the", max_tokens=3, **parameters)


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
@pytest.mark.parametrize("name", ["max_tokens", "temperature", "top_k", "seed", "stop", "priority", "timeout"])
@pytest.mark.parametrize("value", ["1e400", "-1e400", "1e308", "-5e-324", "NaN", "1" * 5_000, "-" + "1" * 5_000])
def test_a_number_above_the_limit_is_refused(client, verb, name, value):
    body = f'{{"text_input": "the", "parameters": {{"{name}": {value}}}}}'
    reply = client.post(f"/v2/models/verse/{verb}", content=body)
    assert reply.status_code == 400, reply.text[:300]
    assert len(reply.content) < 6_000


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
def test_a_model_that_does_not_generate_text_names_its_inputs(client, verb):
    reply = client.post(f"/v2/models/brightness/{verb}", json={"text_input": "a"})
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("document[0] has the unknown key 'text_input'; model 'brightness' takes ")


def test_the_prompt_may_be_a_tensor_of_one_text_and_the_reply_has_the_id(client):
    body = {"text_input": ["the"], "id": "7", "parameters": {"temperature": 0, "max_tokens": 2}}
    alone = client.post("/v2/models/verse/generate", json={**body, "text_input": "the"}).json()
    assert client.post("/v2/models/verse/generate", json=body).json() == alone
    assert alone["id"] == "7"
    assert '"id":"7"' in client.post("/v2/models/verse/generate_stream", json=body).text
    reply = client.post("/v2/models/verse/generate", json={**body, "id": {}})
    assert reply.json() == {"error": "'id' is an object; send a string"}


def test_any_model_answers_one_instance(client):
    """Source: Triton, generate extension."""
    pixels = [[0] * SIDE] * SIDE
    for given in (pixels, [0] * SIDE * SIDE):
        reply = client.post("/v2/models/brightness/generate", json={"id": 3, "pixels": given})
        assert reply.status_code == 200, reply.text
        document = reply.json()
        assert (document["id"], document["model_name"], len(document["probabilities"])) == ("3", "brightness", 2)
    stream = client.post("/v2/models/brightness/generate_stream", json={"pixels": pixels})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text.startswith('data: {"model_name":"brightness"')
    assert client.post("/v2/models/words/generate", json={"text": "a good film"}).status_code == 200


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "document[0] has no key 'pixels'"),
        ({"pixels": [0]}, "an instance of 'pixels' has shape (1,); expected uint8 of shape (4, 4)"),
        ({"pixels": [0], "parameters": 1}, "'parameters' is a number; send an object"),
        ({"pixels": "x"}, "document.pixels[0] is a string; model 'brightness' takes"),
    ],
)
def test_an_instance_that_does_not_fit_is_refused(client, document, error):
    reply = client.post("/v2/models/brightness/generate", json=document)
    assert reply.status_code == 400
    assert error in reply.json()["error"]


@pytest.mark.parametrize("verb", ["generate", "generate_stream"])
def test_a_text_of_more_characters_than_could_count_is_refused(client, verb):
    reply = client.post(f"/v2/models/verse/{verb}", json={"text_input": "x" * 100_001})
    error = "text has 100001 characters; at most 100000 are accepted"
    assert (reply.status_code, reply.json()) == (413, {"error": error})
    longest = {"text_input": "the king, " * 9_999 + "the", "parameters": {"temperature": 0, "max_tokens": 2}}
    reply = client.post(f"/v2/models/verse/{verb}", json=longest)
    assert reply.status_code == 200
    assert " king" in reply.text
