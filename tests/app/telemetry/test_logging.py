"""One event is one line of the log, with any characters that a client sends."""

import json
import logging

import pytest

from app.telemetry.logging import JsonFormatter, TextFormatter

HOSTILE = "m\n2026-11-28 12:00:00,000 ERROR   forged \x1b[31m\r\u2028 naïve"


def record(**fields):
    made = logging.LogRecord("atelier", logging.INFO, __file__, 1, "model %s is refused", (HOSTILE,), None)
    if fields:
        made.fields = fields
    return made


def test_a_line_of_text_stays_one_line_and_keeps_its_letters():
    line = TextFormatter("%(levelname)s %(message)s").format(record(path=HOSTILE))
    assert line.isprintable()
    assert line.startswith(
        r"INFO model m\n2026-11-28 12:00:00,000 ERROR   forged \x1b[31m\r\u2028 naïve is refused path="
    )


@pytest.mark.parametrize("message", ["plain", "naïve", "with %d percent"])
def test_an_ordinary_message_is_printed_unchanged(message):
    made = logging.LogRecord("atelier", logging.INFO, __file__, 1, message, None, None)
    assert TextFormatter("%(message)s").format(made) == message


def test_a_line_of_json_is_one_document():
    line = JsonFormatter().format(record(path=HOSTILE))
    assert "\n" not in line
    assert json.loads(line)["message"] == f"model {HOSTILE} is refused"
    assert json.loads(line)["path"] == HOSTILE


@pytest.mark.parametrize(
    ("message", "arguments", "fields"),
    [
        ("model %s version %d refused: %s", ("m", 3, "version 4"), {"model": "m", "version": 3}),
        ("model %s: the default version is %d%s", ("m", 3, ""), {"model": "m", "version": 3}),
        ("model %s: version %d is the canary of version %d%s", ("m", 4, 3, ""), {"model": "m", "version": 4}),
        ("model %s is unloaded: model %s needs about %d MiB", ("old", "new", 5), {"model": "old"}),
        ("%d %% of model %s, %.0f us", (5, "m", 1.5), {"model": "m"}),
        ("%s", ("model m version 3",), {}),
        ("model and version", (), {}),
    ],
)
def test_a_line_of_json_has_the_model_and_the_version_as_fields(message, arguments, fields):
    made = logging.LogRecord("atelier", logging.INFO, __file__, 1, message, arguments, None)
    line = json.loads(JsonFormatter().format(made))
    assert {name: line[name] for name in ("model", "version") if name in line} == fields
    assert line["message"] == message % arguments


def test_fields_that_a_line_states_itself_count_more_than_those_of_its_message():
    made = logging.LogRecord("atelier", logging.INFO, __file__, 1, "model %s", ("a",), None)
    made.fields = {"model": "b"}
    assert json.loads(JsonFormatter().format(made))["model"] == "b"
