"""GET /: the page on which models can be tried, as far as HTTP shows it; tests/browser uses it."""

import json
import re
from contextlib import ExitStack

import httpx
import pytest

from app.api.live_feed import MOST_LISTENERS
from app.contract.manifest import write_manifest
from app.contract.said import CARD_LIMIT_BYTES
from tests.support.http_requests import ask
from tests.support.service import ROOT, Service, wait_until
from tests.support.tiny_models import write_brightness_model

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FILES = ROOT / "app/api/playground"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_browser_gets_the_page_which_may_run_no_script_but_its_own(tiny, method):
    reply = tiny.request(method, "/", headers=BROWSER)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_other_clients_read_that_the_service_is_live(tiny):
    """As the client of KServe parses it."""
    reply = tiny.get("/")
    assert reply.json() == {"status": "alive"}
    assert reply.headers["vary"] == "accept"


def test_posting_to_the_root_is_405(tiny):
    assert tiny.post("/").status_code == 405


def test_the_page_loads_nothing_from_elsewhere_and_all_of_it_is_there(tiny):
    page = tiny.get("/", headers=BROWSER).text
    found = set(re.findall(r'(?:src|href)="([^"]+)"', page)) - {"/", "docs", "metrics"}
    scripts = {f"playground/assets/{path.name}" for path in (FILES / "assets").iterdir()}
    assert found <= scripts
    total = len(page)
    for path in scripts:
        reply = tiny.get(f"/{path}")
        assert reply.status_code == 200
        without_names_of_formats = reply.text.replace("http://www.w3.org/2000/svg", "")
        assert "://" not in without_names_of_formats
        total += len(reply.content)
    assert total < 150_000


def test_the_scripts_have_at_most_900_lines():
    assert sum(len(path.read_text().splitlines()) for path in FILES.rglob("*.js")) <= 900


@pytest.mark.parametrize(
    "path", ["/playground/assets/nothing.js", "/playground/assets/%2e%2e/index.html", "/playground"]
)
def test_other_paths_are_404(tiny, path):
    assert tiny.get(path).status_code == 404


def test_the_page_learns_what_each_model_takes(tiny):
    models = {model["name"]: model for model in tiny.get("/playground/models").json()["models"]}
    assert set(models) == set(tiny.get("/v1/models").json()["models"])
    kinds = {name: model["kind"] for name, model in models.items()}
    assert set(kinds.values()) == {"image", "text", "tensors"}
    for model in models.values():
        assert model["serving"] == 1
        assert [version["state"] for version in model["versions"]] == ["READY"]
        assert model["versions"][0]["verified"].startswith(("yes", "no"))
        assert all({"name", "dtype", "datatype", "shape"} <= tensor.keys() for tensor in model["inputs"])


CARDS = {
    "good": (b'{"test": {"accuracy": 0.5}}', "# Größe\n<b>".encode(), "accuracy 0.5000 on test data"),
    "broken": (b'{"test": [', b"\xff\xfe", ""),
    "deep": (b"[" * 100_000, b"x" * (CARD_LIMIT_BYTES + 1), ""),
    "other": (b'{"test": {"accuracy": "high"}}', b"", ""),
}


@pytest.mark.parametrize("case", CARDS)
def test_the_page_shows_figure_and_card_and_no_model_is_refused_for_them(tmp_path, start, case):
    metrics, card, words = CARDS[case]
    version = write_brightness_model(tmp_path)
    (version / "metrics.json").write_bytes(metrics)
    (version / "card.md").write_bytes(card)
    write_manifest(version)
    service = start(tmp_path)
    [model] = service.client.get("/playground/models").json()["models"]
    [shown] = model["versions"]
    assert (shown["measured"], shown["has_card"]) == (words, case == "good")
    reply = service.client.get("/playground/models/brightness/versions/1/card")
    if case == "good":
        assert reply.text == card.decode()
        assert reply.headers["content-type"].startswith("text/plain")
        assert reply.headers["x-content-type-options"] == "nosniff"
    else:
        assert reply.status_code == 404
        assert "has no card" in reply.json()["error"]
    assert ask(service.client) == "1"


@pytest.mark.parametrize(
    "path", ["brightness/versions/9", "nope/versions/1", "brightness/versions/x", "a%2f/versions/1"]
)
def test_there_is_no_card_of_a_version_that_does_not_exist(tiny, path):
    reply = tiny.get(f"/playground/models/{path}/card")
    assert reply.status_code in {400, 404}
    assert reply.json()["error"]


def events(reply):
    """The documents of server-sent events."""
    return (json.loads(line.removeprefix("data: ")) for line in reply.iter_lines() if line)


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")])
def test_the_live_figures_count_what_is_answered_and_end_with_the_service(tiny_models, arguments):
    service = Service(tiny_models, *arguments)
    with httpx.Client(base_url=service.url) as other, other.stream("GET", "/playground/live") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        counts = map(_of_words, events(reply))
        before = next(counts)
        for _ in range(3):
            service.client.post("/v1/models/words:predict", json={"instances": ["good"]}).raise_for_status()
        wait_until(lambda: next(counts)["requests"] == before["requests"] + 3)
        assert service.stop() == 0  # although somebody listens
    assert "Traceback" not in service.log


def _of_words(event):
    [found] = [each for each in event["versions"] if each["model"] == "words"]
    assert found["state"] == "READY"
    assert found["buckets"][-1][0] is None
    return found


def test_so_many_pages_get_live_figures_and_the_next_a_sentence(tiny_models):
    service = Service(tiny_models)
    with ExitStack() as open_pages, httpx.Client(base_url=service.url) as other:
        listening = []  # an iterator that is forgotten closes its reply
        for _ in range(MOST_LISTENERS):
            page = open_pages.enter_context(httpx.Client(base_url=service.url))
            listening.append(events(open_pages.enter_context(page.stream("GET", "/playground/live"))))
            next(listening[-1])
        refused = other.get("/playground/live")
        assert (refused.status_code, refused.json()["error"]) == (
            503,
            f"{MOST_LISTENERS} pages show live figures already; try again later",
        )
    wait_until(lambda: _listens(service.url))
    assert service.stop() == 0


def test_the_head_of_the_live_figures_is_no_listener(tiny_models):
    service = Service(tiny_models)
    for _ in range(MOST_LISTENERS + 1):
        reply = service.client.head("/playground/live")
        assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert _listens(service.url)
    assert service.stop() == 0


def _listens(url):
    with httpx.Client(base_url=url) as client, client.stream("GET", "/playground/live") as reply:
        return reply.status_code == 200


def test_without_the_page_a_browser_is_led_to_the_documentation(tiny_models):
    service = Service(tiny_models, "--no-playground")
    reply = service.client.get("/", headers=BROWSER)
    assert (reply.status_code, reply.headers["location"]) == (307, "/docs")
    assert service.client.get("/playground/models").status_code == 404
    assert service.client.get("/playground/live").status_code == 404
    assert service.client.get("/playground/assets/main.js").status_code == 404
    assert service.stop() == 0
