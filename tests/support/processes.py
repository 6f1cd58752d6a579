"""The state of processes that a test starts, from /proc."""

import os
from contextlib import suppress
from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether the process runs; False for one that has ended and was not waited for (a zombie)."""
    try:
        return _stat(Path(f"/proc/{pid}"))[0] not in "ZX"
    except OSError:
        return False


def is_known(pid: int) -> bool:
    """Whether the process runs or is a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Processes that this one started and that run."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = _stat(directory)[:2]
        except OSError:
            continue
        if int(parent) == pid and state not in "ZX":
            found.append(int(directory.name))
    return found


def saved_model_processes(pid: int) -> list[int]:
    """Processes that run a SavedModel for this one: forks of one that it started."""
    below = [each for child in children(pid) for each in (child, *children(child))]
    return [each for each in below if _command(each) == "savedmodel"]


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process refer to: paths, and names such as "socket:[1234]"."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since the directory was read
            found.append(os.readlink(descriptor))
    return found


def _command(pid: int) -> str:
    """The name of the process; "" if it has ended since."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _stat(directory: Path) -> list[str]:
    """Fields after the name, which may contain any characters: state, parent, ..."""
    return (directory / "stat").read_text().rpartition(")")[2].split()
