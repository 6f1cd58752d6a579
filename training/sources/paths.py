"""Files that a user names."""

from contextlib import suppress
from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether there is a file. A name that is too long, or in a folder that may not be read, is not one."""
    with suppress(OSError):
        return path.is_file()
    return False
