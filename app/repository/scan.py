"""Which models and versions lie in the repository directory."""

import re
from pathlib import Path

from app.contract.manifest import MANIFEST_FILE

_VERSION = re.compile(r"[1-9][0-9]*")


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


def _versions(model_directory: Path) -> list[int]:
    numbers = [
        int(entry.name)
        for entry in model_directory.iterdir()
        if _VERSION.fullmatch(entry.name) and (entry / MANIFEST_FILE).is_file()
    ]
    return sorted(numbers, reverse=True)
