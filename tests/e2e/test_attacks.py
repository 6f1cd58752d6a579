"""The published models under small, costly requests: other requests are answered, memory and time are bounded."""

import base64
import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support import hostile_images as hostile
from tests.support.images import encode, png
from tests.support.memory import reset_peak, resident_mb
from tests.support.responsiveness import MOST_SILENCE_S, longest_silence
from tests.support.service import ROOT, Service, wait_until

TEXT = "/v1/models/imdb-sentiment-lstm:predict"
IMAGE = "/v1/models/fashion-mnist-cnn:classify"
PLAIN = {"Content-Type": "text/plain"}


@pytest.fixture(scope="module")
def service():
    service = Service(ROOT / "models", "--shutdown-timeout-s", "10")
    yield service
    assert "Traceback" not in service.log
    if service.process.returncode is None:
        assert service.stop() == 0


def blank_png(edge):
    """A few kilobytes that declare ``edge`` x ``edge`` pixels, and contain them."""
    return encode(Image.new("1", (edge, edge)), "PNG")


def photograph(form="JPEG"):
    """12 megapixels, as from a phone."""
    x, y = np.meshgrid(np.linspace(0, 9, 4000, dtype=np.float32), np.linspace(0, 7, 3000, dtype=np.float32))
    pixels = (128 + 60 * np.sin(x) + 50 * np.cos(y)).astype(np.uint8)
    return encode(Image.fromarray(np.stack([pixels, pixels // 2, 255 - pixels], axis=2)), form, quality=80)


TEXTS = {
    "opening brackets": "<" * 100_000,
    "alternating marks": "\u0300\u0316" * 50_000,
    "marks on a letter": "a" + "\u0316\u0300" * 49_999,
    "apostrophes": "a'" * 50_000,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_hard_to_clean_does_not_delay_others(service, text):
    with longest_silence(service) as waits, ThreadPoolExecutor(4) as pool:
        posts = [
            pool.submit(service.client.post, TEXT, content=text.encode(), headers=PLAIN),
            pool.submit(service.client.post, TEXT, json={"instances": [text, text]}),
        ]
        codes = {post.result().status_code for post in posts}
    assert codes == {200}
    assert waits[0] < MOST_SILENCE_S


def test_a_text_of_a_megabyte_is_refused_immediately(service):
    with longest_silence(service) as waits:
        reply = service.client.post(TEXT, content=b"<" * 1_000_000, headers=PLAIN)
    assert reply.status_code == 413
    assert reply.json() == {"error": "text has 1000000 characters; at most 100000 are accepted"}
    assert waits[0] < MOST_SILENCE_S


def test_small_files_of_many_pixels_do_not_delay_others_in_any_protocol(service):
    bomb = blank_png(5_000)
    assert len(bomb) < 4_096
    encoded = base64.b64encode(bomb).decode()
    tensor = len(bomb).to_bytes(4, "little") + bomb
    declared = {
        "name": "pixels",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(tensor)},
    }
    head = json.dumps({"inputs": [declared]}).encode()
    requests = [
        {"url": IMAGE, "content": bomb},
        {"url": IMAGE, "json": {"examples": [{"b64": encoded}] * 5}},
        {"url": IMAGE.replace("classify", "predict"), "json": {"instances": [{"b64": encoded}] * 5}},
        {"url": IMAGE, "files": [("file", bomb)] * 3},
        {
            "url": "/v2/models/fashion-mnist-cnn/infer",
            "content": head + tensor,
            "headers": {"Inference-Header-Content-Length": str(len(head))},
        },
    ]
    before = resident_mb(service)
    reset_peak(service)
    with longest_silence(service) as waits, ThreadPoolExecutor(len(requests)) as pool:
        replies = [pool.submit(service.client.post, **request) for request in requests]
        assert [reply.result().status_code for reply in replies] == [200] * len(requests)
    assert waits[0] < MOST_SILENCE_S
    # Two are decoded at the same time: 25 megapixels at 5 bytes each, and the reduced ones.
    assert resident_mb(service, "VmHWM") - before < 350


HOSTILE = {
    "a tile of two gigapixels": (lambda: hostile.tile(65536, 32720), "a tile has"),
    "a JPEG of 12,000 scans": (lambda: hostile.scans(12_000, size=(5000, 5000)), "more than 100 scans"),
    "a GIF that enlarges its canvas": (lambda: hostile.gif(frame=(65535, 40000), dispose=2), "65535x40000 pixels"),
    "a GIF of comments": (lambda: hostile.gif(b"\x21\xfe\x01a\x00" * 3_000_000), "more than 65536 blocks"),
}


@pytest.mark.parametrize(("build", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_small_file_that_is_costly_to_decode_is_refused_in_every_protocol(service, build, message):
    bomb = build()
    tensor = len(bomb).to_bytes(4, "little") + bomb
    declared = {"name": "pixels", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(tensor)}}
    head = json.dumps({"inputs": [declared]}).encode()
    requests = [
        {"url": IMAGE, "content": bomb},
        {"url": IMAGE, "files": [("file", bomb)]},
        {
            "url": "/v2/models/fashion-mnist-cnn/infer",
            "content": head + tensor,
            "headers": {"Inference-Header-Content-Length": str(len(head))},
        },
    ]
    before = resident_mb(service)
    reset_peak(service)
    with longest_silence(service) as waits, ThreadPoolExecutor(len(requests)) as pool:
        replies = [reply.result() for reply in [pool.submit(service.client.post, **request) for request in requests]]
    assert {reply.status_code for reply in replies} == {413}
    assert all(message in reply.json()["error"] for reply in replies)
    assert waits[0] < MOST_SILENCE_S
    assert resident_mb(service, "VmHWM") - before < 200  # the bodies; 0.5 to 2.5 GB before there was a bound


def test_eight_phone_photographs_in_parallel_take_less_than_300_mb(service):
    data = photograph()
    service.client.post(IMAGE, content=data)
    before = resident_mb(service)
    reset_peak(service)
    with longest_silence(service) as waits, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: service.client.post(IMAGE, content=data), range(8)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.text for reply in replies}) == 1
    assert waits[0] < MOST_SILENCE_S
    assert resident_mb(service, "VmHWM") - before < 300


def test_a_body_that_inflates_a_thousandfold_does_not_delay_others(service):
    bomb = gzip.compress(b" " * 16_000_000)
    assert len(bomb) < 20_000
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    with longest_silence(service) as waits, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: service.client.post(TEXT, content=bomb, headers=headers), range(16)))
    assert {reply.status_code for reply in replies} <= {400, 429}
    assert waits[0] < MOST_SILENCE_S


DOCUMENTS = {
    "arrays": (b"[1],", "arrays"),
    "empty arrays": (b"[],", "arrays"),
    "objects": (b"{},", "objects"),
    "texts": (b'"a",', "instances is not an array of numbers"),
    "numbers and a text": (b"1,", "instances is not an array of numbers"),
}


@pytest.mark.parametrize(("piece", "message"), DOCUMENTS.values(), ids=DOCUMENTS)
def test_millions_of_values_are_refused_before_they_become_objects(service, piece, message):
    body = b'{"instances":[' + piece * (15_000_000 // len(piece)) + b'"end"]}'
    before = resident_mb(service)
    reset_peak(service)
    with longest_silence(service) as waits, ThreadPoolExecutor(10) as pool:
        path = "/v1/models/fashion-mnist-mlp:predict"
        replies = list(pool.map(lambda _: service.client.post(path, content=body), range(10)))
    assert {reply.status_code for reply in replies} <= {413, 429}
    assert 413 in {reply.status_code for reply in replies}
    assert all(message in reply.json()["error"] for reply in replies if reply.status_code == 413)
    assert waits[0] < MOST_SILENCE_S
    assert resident_mb(service, "VmHWM") - before < 1_000, (
        resident_mb(service, "VmHWM") - before
    )  # 4.0 GB before there was a bound


def test_images_whose_client_left_are_not_decoded_further(service):
    form = [("file", ("x.png", blank_png(5_000)))] * 300  # a minute and a half of decoding
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(service.url + IMAGE, files=form, timeout=httpx.Timeout(30, read=1))
    wait_until(lambda: service.metric("atelier_requests_total", model="fashion-mnist-cnn", code="499") >= 1)
    started = time.monotonic()
    assert service.client.post(IMAGE, content=png(np.zeros((200, 200), np.uint8))).status_code == 200
    assert time.monotonic() - started < 25  # the rest of the decoding would have taken longer


def test_decoding_ends_at_the_deadline_of_its_request(service):
    element = {"name": "pixels", "datatype": "BYTES", "shape": [300]}
    tensor = blank_png(5_000)
    raw = (len(tensor).to_bytes(4, "little") + tensor) * 300
    element["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps({"inputs": [element], "parameters": {"timeout": 500_000}}).encode()
    reply = service.client.post(
        "/v2/models/fashion-mnist-cnn/infer",
        content=head + raw,
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert (reply.status_code, reply.json()) == (
        504,
        {"error": "the timeout of 500 ms passed while the request was decoded"},
    )


def test_decoding_does_not_keep_the_process_from_ending(start):
    service = start(ROOT / "models", "--shutdown-timeout-s", "2")
    form = [("file", ("x.png", blank_png(5_000)))] * 300
    with ThreadPoolExecutor(2) as pool:
        posts = [pool.submit(httpx.post, service.url + IMAGE, files=form, timeout=60) for _ in range(2)]
        time.sleep(0.5)
        started = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - started < 25
        for post in posts:
            error = post.exception()
            assert isinstance(error, httpx.TransportError) or post.result().status_code == 503


def test_a_context_is_not_copied_into_every_example(service):
    """0.5 MB of them took 3.2 GB."""
    context = {f"k{number}": number for number in range(1000)}
    body = {"context": context, "examples": [{}] * 130_000}
    reset_peak(service)
    before = resident_mb(service)
    reply = service.client.post(
        "/v1/models/fashion-mnist-mlp:classify", content=json.dumps(body, ensure_ascii=False).encode(), timeout=60
    )
    assert reply.status_code == 413
    assert resident_mb(service, "VmHWM") - before < 150


@pytest.mark.parametrize("place", ["key", "name", "datatype", "parameter"])
def test_a_name_of_megabytes_is_not_quoted_as_a_whole(service, place):
    long = "é" * 7_000_000
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [1, 28, 28], "data": [0] * 784}
    path = "/v2/models/fashion-mnist-mlp/infer"
    body = {
        "key": {"instances": [{long: 1}]},
        "name": {"inputs": [tensor | {"name": long}]},
        "datatype": {"inputs": [tensor | {"datatype": long}]},
        "parameter": {"inputs": [tensor], "outputs": [{"name": long}]},
    }[place]
    reply = service.client.post(
        path if place != "key" else "/v1/models/fashion-mnist-mlp:predict",
        content=json.dumps(body, ensure_ascii=False).encode(),
        timeout=60,
    )
    assert reply.status_code == 400
    assert "éééé" in reply.json()["error"]
    assert len(reply.content) < 2000


def test_a_value_that_all_examples_share_is_read_once(service):
    """60 KB took 3.8 s on the event loop, and 430 MB."""
    image = [[0] * 28] * 28
    reply = service.client.post(
        "/v1/models/fashion-mnist-mlp:classify", json={"context": {"pixels": image}, "examples": [{}] * 500}
    )
    assert reply.status_code == 200
    assert len(reply.json()["results"]) == 500
    reset_peak(service)
    before = resident_mb(service)
    with longest_silence(service) as waits:
        reply = service.client.post(
            "/v1/models/fashion-mnist-mlp:classify", json={"context": {"pixels": image}, "examples": [{}] * 20_000}
        )
    assert reply.status_code == 413
    assert "max_queue_rows" in reply.json()["error"]
    assert resident_mb(service, "VmHWM") - before < 100
    assert waits[0] < MOST_SILENCE_S
    mixed = {"context": {"pixels": image}, "examples": [{"pixels": image}, *[{}] * 500]}
    reply = service.client.post("/v1/models/fashion-mnist-mlp:classify", json=mixed)
    assert reply.status_code == 413
    assert "state it in all of them, or in none" in reply.json()["error"]
