"""Log lines: one per event, as text or as JSON, to standard error."""

import json
import logging
import sys
from datetime import UTC, datetime


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(*, level: str, form: str) -> None:
    """Send everything of ``level`` and above to standard error, in ``form`` "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    # They tell every chunk of every image, every look at the event loop, every changed file.
    for chatty, least in (("PIL", logging.INFO), ("grpc", logging.INFO), ("watchfiles", logging.WARNING)):
        logging.getLogger(chatty).setLevel(least)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
