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
