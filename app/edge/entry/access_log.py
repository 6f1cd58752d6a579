"""The access log: one line per answered request, for all of them, a share, or only failures."""

import logging
import random
from typing import Any

log = logging.getLogger("atelier.access")

OFF, ERRORS, ALL = "off", "errors", "all"


class AccessLog:
    """Writes the access log.

    Args:
        share: share of the requests that are logged, 0 to 1.
        errors: whether all refused and failed requests are logged.
    """

    def __init__(self, *, share: float, errors: bool) -> None:
        self._share = share
        self._errors = errors

    @classmethod
    def parse(cls, text: str) -> "AccessLog | None":
        """Parse a setting: off, errors, all, or a share such as 0.01. Returns None for off.

        Raises:
            ValueError: any other text.
        """
        if text == OFF:
            return None
        if text == ERRORS:
            return cls(share=0.0, errors=True)
        try:
            share = 1.0 if text == ALL else float(text)
        except ValueError:
            share = -1.0
        if not 0 < share <= 1:
            raise ValueError(f"the access log is {text!r}; choose off, errors, all, or a share such as 0.01")
        return cls(share=share, errors=False)

    def takes(self, code: int) -> bool:
        """Whether a request with this status code is logged."""
        if self._errors:
            return code >= 400
        return self._share >= 1 or random.random() < self._share

    def write(self, **fields: Any) -> None:
        """Log one request, without the fields that are None."""
        log.info("request", extra={"fields": {name: value for name, value in fields.items() if value is not None}})
