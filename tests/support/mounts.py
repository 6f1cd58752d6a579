"""Small file systems for a test that fills them, in a mount namespace that ends with the process."""

import shutil
import subprocess
from pathlib import Path

import pytest

CANNOT_MOUNT = "this machine lets users mount no file system of their own"


def can_mount() -> bool:
    """Whether a user may mount in a separate namespace."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", "/tmp"]
    return bool(shutil.which("unshare")) and not subprocess.run(command, capture_output=True, check=False).returncode


needs_mount = pytest.mark.skipif(not can_mount(), reason=CANNOT_MOUNT)


def on_small_disk(directory: Path, *, size: str) -> list[str]:
    """A command that starts another one with a file system of that size at ``directory``, with a copy of its files."""
    script = (
        f'cp -r "{directory}" "{directory}.copy" && mount -t tmpfs -o size={size} tmpfs "{directory}" && '
        f'cp -r "{directory}.copy/." "{directory}" && exec "$@"'
    )
    return ["unshare", "-rm", "sh", "-c", script, "sh"]


def seen_by(pid: int, path: Path) -> Path:
    """The path as a process in a separate namespace sees it."""
    return Path(f"/proc/{pid}/root") / path.relative_to("/")
