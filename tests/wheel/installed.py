"""Commands of an environment with the wheel, run in a directory of a user."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.service import own_environment, wait_until


class Installed:
    """An environment with the wheel.

    Args:
        programs: its ``bin``.
        place: working directory of all commands, which is also on the path of modules.
    """

    def __init__(self, programs: Path, place: Path) -> None:
        self.programs, self.place = programs, place
        self._environment = {
            **{name: value for name, value in own_environment().items() if name != "PYTHONPATH"},
            "ATELIER_MODELS_DIR": str(place / "models"),
            "PYTHONPATH": str(place),
            "COLUMNS": "120",
        }

    def run(self, program: str, *arguments: str) -> str:
        """What a command prints on standard output; AssertionError if its exit code is not 0."""
        ended = subprocess.run(
            [self.programs / program, *arguments],
            cwd=self.place,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, f"{program} {' '.join(arguments)}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[tuple[str, Path, subprocess.Popen[bytes]]]:
        """``atelier serve``: its URL, its log, and the process; it must end with 0 after SIGTERM."""
        log = self.place / "serve.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [self.programs / "atelier", "serve", "--port", "0", *arguments],
                cwd=self.place,
                env=self._environment,
                stderr=stream,
            )
        try:
            wait_until(lambda: process.poll() is not None or "running on http" in log.read_text())
            found = re.search(r"running on (https?://\S+)", log.read_text())
            assert found is not None, log.read_text()
            wait_until(lambda: httpx.get(f"{found[1]}/v2/health/ready").status_code == 200)
            yield found[1], log, process
        finally:
            process.terminate()
            code = process.wait(30)
        assert code == 0, log.read_text()
