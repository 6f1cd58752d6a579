"""The documentation page works in a browser that cannot reach the internet."""

import re

import pytest

SCRIPT = "/docs/assets/swagger-ui-bundle.js"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_root_leads_a_browser_to_the_documentation(tiny, method):
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    reply = tiny.request(method, "/", headers=browser)
    assert (reply.status_code, reply.headers["location"]) == (307, "/docs")
    assert tiny.request(method, "/", headers=browser, follow_redirects=True).status_code == 200


def test_the_root_reports_to_other_clients_that_the_service_is_live(tiny):
    """As the client of KServe parses it."""
    assert tiny.get("/").json() == {"status": "alive"}


def test_posting_to_the_root_is_405(tiny):
    assert tiny.post("/").status_code == 405


def test_everything_that_the_page_loads_is_served_by_this_service(tiny):
    page = tiny.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "https://" not in page.text
    assert "http://" not in page.text
    links = re.findall(r"(?:src|href)=\"([^\"]+)\"|url: '([^']+)'", page.text)
    paths = {first or second for first, second in links}
    assert paths == {SCRIPT, "/docs/assets/swagger-ui.css", "/docs/assets/favicon-32x32.png", "/openapi.json"}
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
