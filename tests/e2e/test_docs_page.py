"""The documentation page works in a browser that cannot reach the internet."""

import re

import pytest

from tests.support.commands import run
from tests.support.service import ROOT, Service

SCRIPT = "/docs/assets/swagger-ui-bundle.js"


def test_everything_that_the_page_loads_is_served_by_this_service(tiny):
    page = tiny.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "https://" not in page.text
    assert "http://" not in page.text
    links = re.findall(r"(?:src|href)=\"([^\"]+)\"|url: '([^']+)'", page.text)
    paths = {first or second for first, second in links}
    assert paths == {SCRIPT, "/docs/assets/swagger-ui.css", "/docs/assets/favicon-32x32.png", "/docs/openapi.json"}
    for path in paths:
        reply = tiny.get(path)
        assert reply.status_code == 200
        assert len(reply.content) > 500


@pytest.mark.parametrize(("name", "kind"), [("swagger-ui-bundle.js", "javascript"), ("swagger-ui.css", "text/css")])
def test_browsers_get_the_type_of_each_file_and_need_not_load_it_twice(tiny, name, kind):
    first = tiny.get(f"/docs/assets/{name}")
    assert kind in first.headers["content-type"]
    again = tiny.get(f"/docs/assets/{name}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/docs/assets/nothing.js", "/docs/assets/%2e%2e/main.py", "/redoc", "/docs/assets/"])
def test_other_paths_below_the_page_are_404(tiny, path):
    reply = tiny.get(path)
    assert reply.status_code == 404
    assert reply.json()["error"].endswith(" is not a route; GET /docs lists all routes")


@pytest.mark.parametrize("path", ["atelier", "/a/", "/a b", "//a", "/ä"])
def test_a_path_of_a_proxy_that_is_none_is_refused(tiny_models, path):
    result = run("serve", "--models-dir", tiny_models, ATELIER_ROOT_PATH=path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: ATELIER_ROOT_PATH is {path!r}; expected a path such as /atelier")


def inference(document):
    """Verb -> path and operation of each inference route that names no version."""
    found = {}
    for path, operations in document["paths"].items():
        if "inference" in operations.get("post", {}).get("tags", ()) and path.count("{") == 1:
            found[path.rpartition("/")[2].rpartition(":")[2]] = path, operations["post"]
    return found


@pytest.fixture(scope="module")
def shown(tiny):
    return inference(tiny.get("/docs/openapi.json").json())


@pytest.fixture(scope="module")
def published():
    service = Service(ROOT / "models")
    yield service.client
    assert service.stop() == 0


def offered(operation):
    """The models that a route offers, and those for which it has an example."""
    examples = operation["requestBody"]["content"]["application/json"].get("examples", {})
    return operation["parameters"][0]["schema"]["enum"], {name: each["value"] for name, each in examples.items()}


def test_the_page_offers_the_models_that_answer_a_route(tiny, shown):
    assert offered(shown["predict"][1])[0] == sorted(tiny.get("/v1/models").json()["models"])
    assert offered(shown["classify"][1])[0] == ["brightness", "words"]
    assert offered(shown["regress"][1])[0] == ["fragile"]


@pytest.mark.parametrize("which", ["tiny", "published"])
def test_every_example_of_the_page_is_answered(request, which):
    client = request.getfixturevalue(which)
    answered = set()
    for verb, (path, operation) in inference(client.get("/docs/openapi.json").json()).items():
        names, bodies = offered(operation)
        if not bodies or not bodies.keys() <= set(names):
            continue  # no model answers this route: the examples are those of the document
        assert sorted(bodies) == names
        for name, body in bodies.items():
            reply = client.post(path.replace("{name}", name), json=body)
            assert reply.status_code == 200, (verb, name, body, reply.text)
            answered.add(verb)
    more = {"regress"} if which == "tiny" else {"generate", "generate_stream"}
    assert answered == {"predict", "classify", "explain", "infer"} | more


def test_the_page_has_a_field_for_files(shown):
    content = shown["classify"][1]["requestBody"]["content"]["multipart/form-data"]
    assert content["schema"]["properties"]["file"]["items"]["format"] == "binary"


def test_the_document_for_generated_clients_names_no_model(tiny):
    for _, operation in inference(tiny.get("/openapi.json").json()).values():
        assert "enum" not in operation["parameters"][0]["schema"]
