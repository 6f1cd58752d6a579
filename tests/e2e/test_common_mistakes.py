"""The mistakes in docs/how-to/send-requests.md get the status and the message in its table."""

import re

import pytest

from tests.support.readme import ROOT

NAME = "brightness"
NO_PICTURE = b"\x89PNG\r without the rest"


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", f"/v1/models/{NAME}:classify", NO_PICTURE, '400, "242 bytes are not a ..."'),
        ("POST", "/predict", NO_PICTURE, '404, "... is not a route"'),
        ("POST", f"/models/{NAME}", NO_PICTURE, '404, "... is not a route"'),
        ("POST", f"/v1/models/{NAME}/classify", NO_PICTURE, '400, "Malformed request: POST /v1/models/NAME/classify"'),
        ("POST", f"/v1/models/{NAME}", NO_PICTURE, '405, "use GET, or POST to a path that ends in ..."'),
        ("POST", f"/v2/models/{NAME}:classify", NO_PICTURE, '405, "use GET"'),
        ("GET", f"/v1/models/{NAME}:classify", b"", '405, "use POST"'),
        ("POST", f"/v2/models/{NAME}/infer", NO_PICTURE, '400, "JSON Parse error"'),
        ("POST", "/v1/models/nope:classify", NO_PICTURE, '404, "Request for unknown model: ... is not found"'),
    ],
)
def test_a_mistake_gets_the_words_of_the_table(tiny, method, path, body, words):
    assert words in (ROOT / "docs/how-to/send-requests.md").read_text(encoding="utf-8")
    status, message = re.fullmatch(r'(\d+), "(.+)"', words).groups()
    reply = tiny.request(method, path, content=body)
    assert reply.status_code == int(status)
    for part in re.split(r"\.\.\.|\d+ |NAME", message):
        assert part.strip() in reply.json()["error"]
