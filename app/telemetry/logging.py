"""Log lines: one per event, as text or as JSON, to standard error."""

import json
import logging
import re
import sys
import warnings
from datetime import UTC, datetime

# The places of a message's arguments, in their order, and which of them are a model and its version.
_PLACES = re.compile(r"%%|(model|version)(?: is)? %[sd]|%[^a-zA-Z%]*[a-zA-Z]")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, further fields, and the traceback if there is one.

    A message about a model or a version also has them as the fields ``model`` and ``version``.

    Args:
        worker: number of the worker process, added to every line; None leaves it out.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_named(record))
        line.update(getattr(record, "fields", {}))
        if self._worker is not None:
            line["worker"] = self._worker
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def _named(record: logging.LogRecord) -> dict[str, object]:
    """The model and the version that a message is about: the first of each among its arguments."""
    found: dict[str, object] = {}
    places = [each for each in _PLACES.finditer(record.msg) if each[0] != "%%"] if isinstance(record.msg, str) else []
    if isinstance(record.args, tuple) and len(places) == len(record.args):
        for place, value in zip(places, record.args, strict=True):
            if place[1] is not None:
                found.setdefault(place[1], value if isinstance(value, int) else str(value))
    return found


class TextFormatter(logging.Formatter):
    """One line of text: time, level, message, and further fields as ``name=value``."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without a traceback. It is always one line, with any content from clients or files."""
        fields: dict[str, object] = getattr(record, "fields", {})
        if not record.message.isprintable():
            record.message = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in record.message)
        return super().formatMessage(record) + "".join(f" {name}={_shown(value)}" for name, value in fields.items())


def _shown(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and " " not in text else json.dumps(text)


def _is_not_of_lifespan(record: logging.LogRecord) -> bool:
    """Leave out "Application startup complete" and the like, which uvicorn says before any model is loaded."""
    return record.levelno > logging.INFO or record.module != "on"  # uvicorn/lifespan/on.py


def configure_logging(*, level: str, form: str, worker: int | None = None) -> None:
    """Send all lines of ``level`` and above to standard error.

    Args:
        level: "debug", "info", "warning" or "error".
        form: "text" or "json".
        worker: number of the worker process, for its lines; None with a single process.
    """
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter(worker))
    else:
        who = "" if worker is None else f"worker {worker}: "
        handler.setFormatter(TextFormatter(f"%(asctime)s %(levelname)-7s {who}%(message)s"))
    # Pillow warns about damaged metadata that nothing here uses, so clients could write to the log.
    warnings.filterwarnings("ignore", module="PIL")
    # These libraries log every chunk of every image, every step of the event loop, every request, every changed file.
    for chatty, least in (
        ("PIL", logging.INFO),
        ("grpc", logging.INFO),
        ("urllib3", logging.INFO),
        ("opentelemetry", logging.ERROR),  # a line for each try of each batch of spans
        ("watchfiles", logging.WARNING),
    ):
        logging.getLogger(chatty).setLevel(least)
    logging.getLogger("uvicorn.error").addFilter(_is_not_of_lifespan)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
