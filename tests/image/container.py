"""An image as a container runtime runs it: its command, variables and user, with a root file system to read only."""

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.service import wait_until

# In a mount namespace of its own: only /tmp may be written, and /proc and /dev are those of this machine.
ENTER = """
set -e
mount --bind {root} {root}
mount -o remount,bind,ro {root}
mount -t tmpfs tmpfs {root}/tmp
mount -t proc proc {root}/proc
mount --rbind /dev {root}/dev
exec chroot --userspec={user} --groups= {root} env -i -C {directory} {variables} {command}
"""


class Image:
    """An image whose files are in a directory.

    Args:
        name: of the target that was built.
        root: the directory.
        configuration: as in Docker's image format: ``Entrypoint``, ``Cmd``, ``Env``, ``User``, ``Healthcheck`` ...
    """

    def __init__(self, name: str, root: Path, configuration: Mapping[str, Any]) -> None:
        self.name, self.root, self.configuration = name, root, configuration

    def command(self, arguments: Sequence[str], **variables: object) -> list[str]:
        """A command that runs ``arguments`` in the image; a signal to it reaches them."""
        given = [*self.configuration["Env"], *(f"{name}={value}" for name, value in variables.items())]
        script = ENTER.format(
            root=shlex.quote(str(self.root)),
            user=self.configuration["User"],
            directory=self.configuration["WorkingDir"],
            variables=shlex.join(given),
            command=shlex.join(arguments),
        )
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]

    def run(self, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run a command in the image and wait for its end."""
        command = self.command(arguments, **variables)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    @contextmanager
    def serving(self, *arguments: str, **variables: object) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        """The image's own command with further arguments: its URL once it is ready, and its process."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = [*self.configuration["Entrypoint"], *self.configuration["Cmd"], *arguments]
        command = self.command(own, ATELIER_PORT=port, **variables)
        with Path(os.devnull).open("wb") as nowhere:
            process = subprocess.Popen(command, stderr=nowhere, stdout=nowhere)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: process.poll() is not None or _is_ready(url), within_s=60)
            assert process.poll() is None, f"it ended with exit code {process.returncode}"
            yield url, process
        finally:
            process.terminate()
            process.wait(60)

    def health(self, url: str) -> int:
        """The exit code of the command of HEALTHCHECK."""
        kind, *arguments = self.configuration["Healthcheck"]["Test"]
        assert kind == "CMD", kind
        return self.run(*arguments, ATELIER_PORT=url.rpartition(":")[2]).returncode


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False
