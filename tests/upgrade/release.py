"""A release: the files of a revision, and what its commands and its service say."""

import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.support.service import ROOT, Service, own_environment

_OPTION = re.compile(r"^\s+(--[\w-]+)", re.MULTILINE)
_COMMAND = re.compile(r"^  ([a-z][\w-]*)  ", re.MULTILINE)


class Release:
    """The application in a directory, run with the packages of this environment.

    Args:
        root: of its checkout.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, revision: str, directory: Path) -> "Release":
        """The files of a revision, written to an empty directory."""
        packed = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(directory, filter="data")
        return cls(directory)

    def run(self, *arguments: str, **variables: str) -> str:
        """What a command of ``python -m app`` prints; it must end with 0."""
        ended = subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            cwd=self.root,
            env={**own_environment(), "PYTHONPATH": str(self.root), "COLUMNS": "200", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, f"{self.root}: app {' '.join(arguments)}: {ended.stdout}{ended.stderr}"
        return ended.stdout

    def service(self, models: Path, *arguments: str, **variables: str) -> Service:
        """Its service, ready."""
        through = ["env", "-C", str(self.root), f"PYTHONPATH={self.root}"]
        return Service(models, *arguments, through=through, environment=variables)

    def options(self) -> set[str]:
        """``command --option`` of all its commands."""
        listed = _COMMAND.findall(self.run("--help").partition("Commands:")[2])
        return {f"{command} {option}" for command in listed for option in _OPTION.findall(self.run(command, "--help"))}


def routes(service: Service) -> set[str]:
    """``METHOD path`` of everything in its OpenAPI document."""
    paths = service.client.get("/openapi.json").json()["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


def metrics(service: Service) -> set[str]:
    """``name type`` of its metrics."""
    text = service.client.get("/metrics").text
    return set(re.findall(r"^# TYPE (atelier_\w+ \w+)$", text, re.MULTILINE))
