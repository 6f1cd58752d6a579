"""A models directory that is the copy of models at a URL."""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app.contract.files.regular import shown
from app.contract.files.replacing import write_whole
from app.contract.manifest import MANIFEST_FILE, MANIFEST_LIMIT_BYTES, verify_manifest
from app.errors import VersionRefused
from app.mirror.fetching import PARTIAL, fetch, read_small, remove
from app.mirror.listing import RemoteModel, models_of
from app.mirror.location import Location
from app.mirror.remote import Listed, Remote, Unreachable
from app.repository.copies import MARK
from app.repository.policy import POLICY_FILE, POLICY_LIMIT_BYTES
from app.repository.version_directories import version_of

log = logging.getLogger("atelier.mirror")

_LOCK = ".copying"
# Changed by each look without an error.
_LOOKED = ".copied"
# The serving.json that was copied last, next to the one in effect: a halted canary changes only the latter.
_COPIED_POLICY = ".serving.copied.json"


@dataclass
class Copied:
    """What one look at the URL has changed."""

    versions: int = 0
    bytes_read: int = 0


class Mirror:
    """Brings a directory in line with a URL; versions become visible once every byte is that of their manifest.

    Several processes may use one directory: one of them copies at a time, and those that waited for it do not look
    themselves.

    Args:
        location: of the models.
        remote: reads them.
        directory: the copy; created if missing.
    """

    def __init__(self, location: Location, remote: Remote, directory: Path) -> None:
        self.location = location
        self.directory = directory
        self._remote = remote
        self._looked_at = time.time()
        # Model/version -> mark of its manifest when the copy was last compared with it.
        self._compared: dict[str, str | None] = {}
        # What the log has said of a version; said again when it changes.
        self._told: dict[str, str] = {}

    @property
    def has_versions(self) -> bool:
        """Whether the copy has a version from an earlier look."""
        return any(self.directory.glob(f"[!.]*/[0-9]*/{MANIFEST_FILE}"))

    def copied_at(self) -> float:
        """When a process last looked without an error, in seconds since 1970; 0.0: never."""
        try:
            return (self.directory / _LOOKED).stat().st_mtime
        except OSError:
            return 0.0

    def copy(self) -> Copied:
        """Look at the URL once, and copy what has changed. Blocks.

        Raises:
            Unreachable: the URL cannot be listed, or lists no model; the copy stays as it was.
            OSError: the copy cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        copied = Copied()
        with self._alone():
            if self.copied_at() <= self._looked_at:
                write_whole(self.directory / MARK, self.location.url.encode())
                models = models_of(self._remote.files())
                if not models:
                    raise Unreachable(f"{self.location.url} has no MODEL/VERSION/ in it")
                for name, model in sorted(models.items()):
                    self._copy_model(name, model, copied)
                self._remove_others(models)
                (self.directory / _LOOKED).touch()
            self._looked_at = time.time()
        return copied

    def _copy_model(self, name: str, model: RemoteModel, copied: Copied) -> None:
        for version in model.without_manifest:
            self._tell(f"{name}/{version}", f"has no {MANIFEST_FILE}; versions without one are not copied")
        for version, files in sorted(model.versions.items(), key=lambda each: int(each[0])):
            self._copy_version(f"{name}/{version}", files, copied)
        self._copy_policy(name, model)

    def _copy_version(self, name: str, files: dict[str, Listed], copied: Copied) -> None:
        mark = files[MANIFEST_FILE].mark
        directory = self.directory / name
        try:
            if self._is_same(name, mark):
                return
            start = time.monotonic()
            count = fetch(self._remote, name, files, directory)
        except (VersionRefused, Unreachable) as error:
            self._tell(name, f"is not copied: {error.message}")
            return
        self._told.pop(name, None)
        self._compared[name] = mark
        copied.versions += 1
        copied.bytes_read += count
        log.info("copied %s from %s: %.1f MB in %.1f s", name, self.location.url, count / 1e6, time.monotonic() - start)

    def _is_same(self, name: str, mark: str | None) -> bool:
        """Whether the copy has the version as it is at the URL; the first time all of its bytes are compared."""
        directory = self.directory / name
        if not directory.is_dir():
            return False
        if name in self._compared and mark is not None:
            return self._compared[name] == mark
        text = read_small(self._remote, f"{name}/{MANIFEST_FILE}", MANIFEST_LIMIT_BYTES)
        try:
            if (directory / MANIFEST_FILE).read_bytes() != text:
                return False
            if name not in self._compared:
                verify_manifest(directory)
        except (OSError, VersionRefused):
            return False
        self._compared[name] = mark
        return True

    def _copy_policy(self, name: str, model: RemoteModel) -> None:
        """serving.json, if it is another one than was copied last."""
        directory = self.directory / name
        if not directory.is_dir():
            return
        path, copied = directory / POLICY_FILE, directory / _COPIED_POLICY
        if model.policy is None:
            for each in (path, copied):
                each.unlink(missing_ok=True)
            return
        try:
            data = read_small(self._remote, f"{name}/{POLICY_FILE}", POLICY_LIMIT_BYTES)
        except (VersionRefused, Unreachable) as error:
            self._tell(f"{name}/{POLICY_FILE}", f"is not copied: {error.message}")
            return
        if not copied.is_file() or copied.read_bytes() != data:
            write_whole(path, data)
            write_whole(copied, data)
            log.info("copied %s/%s from %s", name, POLICY_FILE, self.location.url)

    def _remove_others(self, models: dict[str, RemoteModel]) -> None:
        """Versions and models that are not at the URL any more."""
        for directory in [each for each in self.directory.iterdir() if each.is_dir() and each.name[0] != "."]:
            there = models.get(directory.name)
            kept = set() if there is None else {*there.versions, *there.without_manifest}
            used = {PARTIAL.format(name) for name in kept}
            for left in [each for each in directory.glob(".*") if each.is_dir() and each.name not in used]:
                shutil.rmtree(left, ignore_errors=True)
            for version in [each for each in directory.iterdir() if version_of(each.name) is not None]:
                if version.name not in kept:
                    remove(version)
                    self._compared.pop(f"{directory.name}/{version.name}", None)
                    log.info("removed %s/%s, which %s has no more", directory.name, version.name, self.location.url)
            if there is None:
                shutil.rmtree(directory, ignore_errors=True)

    def _tell(self, name: str, what: str) -> None:
        if self._told.get(name) != what:
            self._told[name] = what
            log.warning("%s at %s %s", shown(name), self.location.url, what)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process copies into the directory."""
        descriptor = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            with suppress(OSError):
                os.close(descriptor)
