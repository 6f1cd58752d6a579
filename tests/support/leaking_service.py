"""``python -m tests.support.leaking_service serve``: the service with an error, and a leak of 64 KiB per request."""

import logging
from typing import Any

from app.cli import main
from app.edge.http.dispatch import Dispatch

LEAKED_BYTES = 64 * 1024
_kept: list[bytes] = []
_answer = Dispatch.answer


def _answer_and_leak(self: Dispatch, *arguments: Any, **keywords: Any) -> Any:
    if not _kept:
        logging.getLogger("atelier").error("it leaks")
    _kept.append(b"x" * LEAKED_BYTES)
    return _answer(self, *arguments, **keywords)


if __name__ == "__main__":
    Dispatch.answer = _answer_and_leak  # type: ignore[method-assign]
    main()
