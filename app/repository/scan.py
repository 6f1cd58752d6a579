"""Which models and versions lie in the repository directory."""

import re
from pathlib import Path

from app.contract.manifest import MANIFEST_FILE
from app.errors import InvalidInput

_VERSION = re.compile(r"[1-9][0-9]{0,17}")


def scan(models_dir: Path) -> dict[str, list[int]]:
    """Model name -> version numbers, newest first.

    A version is a directory named by an integer without a leading zero that holds a manifest; anything
    else (a copy in progress, a publisher's temporary directory) does not exist. A model without a
    version is left out.
    """
    models = {}
    if models_dir.is_dir():
        for directory in sorted(models_dir.iterdir()):
            if directory.is_dir() and not directory.name.startswith(".") and (versions := _versions(directory)):
                models[directory.name] = versions
    return models


def version_number(text: str) -> int:
    """The version that a client names, written as its directory is.

    Raises:
        InvalidInput: anything else, so that one version has one name.
    """
    if not _VERSION.fullmatch(text):
        raise InvalidInput(
            f"{text!r} is no version; write a whole number from 1, in 1 to 18 digits, without leading zeros"
        )
    return int(text)


def _versions(model_directory: Path) -> list[int]:
    numbers = [
        int(entry.name)
        for entry in model_directory.iterdir()
        if _VERSION.fullmatch(entry.name) and (entry / MANIFEST_FILE).is_file()
    ]
    return sorted(numbers, reverse=True)
