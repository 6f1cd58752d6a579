"""Builds images and uses them: ``python -m tests.image DIRECTORY cpu gpu``; ``make test-image`` calls it.

``DIRECTORY`` keeps the base image and pip's cache. Ends with 0 and one sentence on a machine that cannot build images,
with 1 if a check fails. ``BASE`` of the environment is another base image, such as ``python:3.12-slim-bookworm``.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.image.builder import Builder, missing
from tests.image.checks import CHECKS
from tests.image.container import Image


def main(directory: Path, targets: Sequence[str]) -> int:
    """The exit code: 1 if a check fails."""
    if reason := missing():
        print(f"test-image is skipped: {reason}")  # noqa: T201
        return 0
    begun = time.monotonic()
    builder, failed = Builder(directory.absolute()), 0
    base = os.environ.get("BASE") or builder.debian()
    print(f"base image {base} after {time.monotonic() - begun:.0f} s", flush=True)  # noqa: T201
    for target in targets:
        with builder.built(target, base) as (root, configuration):
            print(f"{target}: built after {time.monotonic() - begun:.0f} s", flush=True)  # noqa: T201
            failed += _check(Image(target, root, configuration))
    print(f"done after {time.monotonic() - begun:.0f} s")  # noqa: T201
    return int(failed > 0)


def _check(image: Image) -> int:
    failed = 0
    for check in CHECKS[image.name]:
        try:
            result = check(image) or "passes"
        except AssertionError as error:
            failed += 1
            result = f"FAILS: {error}"
        print(f"{image.name}: {check.__doc__}: {result}", flush=True)  # noqa: T201
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or ["cpu"]))
