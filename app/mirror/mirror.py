"""A models directory that is the copy of models at a URL."""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.contract.files.regular import shown
from app.contract.files.replacing import write_whole
from app.contract.manifest import MANIFEST_FILE, MANIFEST_LIMIT_BYTES, verify_manifest
from app.errors import VersionRefused
from app.mirror.fetching import PARTIAL, fetch, read_small, remove
from app.mirror.listing import RemoteModel, models_of
from app.mirror.location import Location
from app.mirror.remote import Listed, Remote, Unreachable
from app.repository.copies import MARK, origin
from app.repository.policy import POLICY_FILE, POLICY_LIMIT_BYTES
from app.repository.version_directories import version_of

log = logging.getLogger("atelier.mirror")

_LOCK = ".copying"
# Changed by each look without an error.
_LOOKED = ".copied"
# The serving.json that was copied last, next to the one in effect: a halted canary changes only the latter.
_COPIED_POLICY = ".serving.copied.json"


# Seconds to wait while another process copies into the directory.
_LOCK_S = 10.0


@dataclass
class Copied:
    """What one look at the URL has changed.

    Attributes:
        versions, bytes_read: that were copied.
        failures: what could not be read or written, although it may be in order there.
    """

    versions: int = 0
    bytes_read: int = 0
    failures: list[str] = field(default_factory=list)


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
        # Versions that were not at the URL in the last look; a page that is cut off lists too little for a moment.
        self._missing: set[Path] = set()
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
            Unreachable: the URL cannot be listed, or lists no model, and the copy stays as it was; or another process
                copies into the directory; or something of a model could not be read, and the others are copied.
            OSError: the directory cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        copied = Copied()
        with self._alone():
            if not self._looked_at < self.copied_at() <= time.time():
                self._copy_all(copied)
            self._looked_at = time.time()
        return copied

    def _copy_all(self, copied: Copied) -> None:
        if origin(self.directory) != self.location.url:
            write_whole(self.directory / MARK, self.location.url.encode())
        models = models_of(self._remote.files())
        if not models:
            raise Unreachable(f"{self.location.url} has no MODEL/VERSION/ in it")
        self._clean(models)
        for name, model in sorted(models.items()):
            self._copy_model(name, model, copied)
        self._remove_others(models)
        if copied.failures:
            more = f" ({len(copied.failures)} such failures)" if copied.failures[1:] else ""
            raise Unreachable(copied.failures[0] + more)
        (self.directory / _LOOKED).touch()

    def _copy_model(self, name: str, model: RemoteModel, copied: Copied) -> None:
        for version in model.without_manifest:
            self._tell(f"{name}/{version}", f"has no {MANIFEST_FILE}; versions without one are not copied")
        for version, files in sorted(model.versions.items(), key=lambda each: int(each[0])):
            self._copy_version(f"{name}/{version}", files, copied)
        self._copy_policy(name, model, copied)

    def _copy_version(self, name: str, files: dict[str, Listed], copied: Copied) -> None:
        mark = files[MANIFEST_FILE].mark
        directory = self.directory / name
        try:
            if self._is_same(name, mark):
                return
            start = time.monotonic()
            count = fetch(self._remote, name, files, directory)
        except VersionRefused as error:
            self._tell(name, f"is not copied: {error.message}")
            return
        except (Unreachable, OSError) as error:
            copied.failures.append(f"{shown(name)} is not copied: {error}")
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

    def _copy_policy(self, name: str, model: RemoteModel, copied: Copied) -> None:
        """serving.json, if it is another one than was copied last."""
        directory = self.directory / name
        if not directory.is_dir():
            return
        path, kept = directory / POLICY_FILE, directory / _COPIED_POLICY
        try:
            if model.policy is None:
                for each in (path, kept):
                    each.unlink(missing_ok=True)
                return
            data = read_small(self._remote, f"{name}/{POLICY_FILE}", POLICY_LIMIT_BYTES)
            if not kept.is_file() or kept.read_bytes() != data:
                write_whole(path, data)
                write_whole(kept, data)
                log.info("copied %s/%s from %s", name, POLICY_FILE, self.location.url)
        except VersionRefused as error:
            self._tell(f"{name}/{POLICY_FILE}", f"is not copied: {error.message}")
        except (Unreachable, OSError) as error:
            copied.failures.append(f"{name}/{POLICY_FILE} is not copied: {error}")

    def _clean(self, models: dict[str, RemoteModel]) -> None:
        """What earlier copies left behind, of versions that are not at the URL any more."""
        for directory in self._models():
            there = models.get(directory.name, RemoteModel())
            used = {PARTIAL.format(name) for name in (*there.versions, *there.without_manifest)}
            for left in [each for each in directory.glob(".*") if each.is_dir() and each.name not in used]:
                shutil.rmtree(left, ignore_errors=True)

    def _remove_others(self, models: dict[str, RemoteModel]) -> None:
        """Versions and models that two looks did not find at the URL."""
        missing: set[Path] = set()
        for directory in self._models():
            there = models.get(directory.name, RemoteModel())
            kept = {*there.versions, *there.without_manifest}
            missing |= {each for each in directory.iterdir() if version_of(each.name) is not None} - {
                directory / name for name in kept
            }
        for version in sorted(missing & self._missing):
            remove(version)
            name = f"{version.parent.name}/{version.name}"
            self._compared.pop(name, None)
            log.info("removed %s, which %s has no more", name, self.location.url)
        self._missing = missing - self._missing
        for directory in self._models():
            if directory.name not in models and not any(
                version_of(each.name) is not None for each in directory.iterdir()
            ):
                shutil.rmtree(directory, ignore_errors=True)

    def _models(self) -> list[Path]:
        return [each for each in self.directory.iterdir() if each.is_dir() and each.name[0] != "."]

    def _tell(self, name: str, what: str) -> None:
        if self._told.get(name) != what:
            self._told[name] = what
            log.warning("%s at %s %s", shown(name), self.location.url, what)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process copies into the directory; Unreachable if one does for long."""
        descriptor = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + _LOCK_S
            while not _locked(descriptor):
                if time.monotonic() > deadline:
                    raise Unreachable(f"another process copies into {self.directory}")
                time.sleep(0.05)
            yield
        finally:
            with suppress(OSError):
                os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
