"""Builds images with buildah, as root and without a daemon; the base image is Debian, made by debootstrap."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.service import ROOT

PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap", "unshare": "util-linux"}
DEBIAN = "bookworm"
"""Its Python is 3.11."""
# Not needed to run anything; the images of Docker Hub leave most of it out too.
LEFT_OUT = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists", "var/log/apt")
PIP_CACHE = "/var/cache/pip"
"""In the container of a build."""
_OPTION = re.compile(r"^(?:global|install|:env:)\.([\w-]+)='(.*)'$")


def missing() -> str:
    """Why this machine cannot build and run images, in a sentence; empty if it can."""
    for command, package in PACKAGES.items():
        if shutil.which(command) is None:
            return f"{command} is not installed (Debian package {package})"
    if os.geteuid() != 0:
        return "buildah without user namespaces, and chroot, require root"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "this machine allows no mount namespaces (unshare --mount)"
    return ""


class Builder:
    """Images in one directory.

    Args:
        directory: for the base image, pip's cache and the storage of buildah; it is made.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "pip").mkdir(parents=True, exist_ok=True)
        self._command = ["buildah", "--root", str(directory / "storage"), "--runroot", str(directory / "run")]
        self._command += ["--storage-driver", "vfs"]

    def debian(self) -> str:
        """Name of a base image with Debian and its Python; made once, which takes a minute."""
        archive = self._directory / f"{DEBIAN}.tar"
        if not archive.exists():
            root = self._directory / DEBIAN
            shutil.rmtree(root, ignore_errors=True)
            packages = "--include=python3,python3-venv,ca-certificates"
            _run("debootstrap", "--variant=minbase", packages, DEBIAN, str(root))
            for path in LEFT_OUT:
                shutil.rmtree(root / path, ignore_errors=True)
            _run("tar", "-C", str(root), "-cf", f"{archive}.part", ".")
            shutil.rmtree(root)
            Path(f"{archive}.part").rename(archive)
        name = f"localhost/{DEBIAN}"
        if name not in self._buildah("images", "--format", "{{.Name}}").split():
            container = self._buildah("from", "scratch")
            self._buildah("add", container, str(archive), "/")
            self._buildah("commit", "--rm", container, name)
        return name

    @contextmanager
    def built(self, target: str, base: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Build a target of the Dockerfile: its root directory, and its configuration as Docker writes it.

        pip has the options of this machine, such as its index, and a cache that remains; neither is in the image.
        """
        options = self._directory / "pip.conf"
        options.write_text(pip_options())
        mounts = {options: "/etc/pip.conf", self._directory / "pip": PIP_CACHE, Path("/etc/ssl/certs"): None}
        volumes = [f"{path}:{place or path}:{'rw' if path.name == 'pip' else 'ro'}" for path, place in mounts.items()]
        self._buildah(
            *("build", "--isolation", "chroot", "--format", "docker", "--quiet", "--target", target),
            *("--build-arg", f"BASE={base}", *(part for volume in volumes for part in ("--volume", volume))),
            *("--tag", f"localhost/atelier-{target}", str(ROOT)),
        )
        container = self._buildah("from", f"localhost/atelier-{target}")
        try:
            inspected = json.loads(self._buildah("inspect", container))
            yield Path(self._buildah("mount", container)), inspected["Docker"]["config"]
        finally:
            self._buildah("rm", container)
            self._buildah("rmi", "--prune")  # of earlier builds: each layer of vfs is a whole copy

    def _buildah(self, *arguments: str) -> str:
        return _run(*self._command, *arguments)


def pip_options() -> str:
    """pip.conf with the options of this machine, but for the places of files, which a build does not see."""
    listed = _run(sys.executable, "-m", "pip", "config", "list")
    found = [match for line in listed.splitlines() if (match := _OPTION.match(line))]
    kept = {name: value for name, value in (match.groups() for match in found) if "file:" not in value}
    kept = {name: value for name, value in kept.items() if name == "cert" or not value.startswith("/")}
    return "\n".join(
        ["[global]", f"cache-dir = {PIP_CACHE}", *(f"{name} = {value}" for name, value in kept.items()), ""]
    )


def _run(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"{' '.join(command[:12])}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
    return ended.stdout.strip()
