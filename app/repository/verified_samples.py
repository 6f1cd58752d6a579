"""Golden samples that an operator has given to versions of other tools, in the state directory.

They are kept outside of the models directory, which may be read-only, and under the hash of the version's files: other
files have none.
"""

import logging
import os
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.contract.files.regular import read_file
from app.contract.files.replacing import write_whole
from app.contract.golden import GOLDEN_LIMIT_BYTES, Golden
from app.errors import VersionRefused

log = logging.getLogger("atelier.repository")

_SUBDIRECTORY = "verified"
# This many files of one model are checked for changes.
_MOST_FILES = 10_000


@dataclass(frozen=True)
class VerifiedSamples:
    """Reads and writes STATE_DIR/verified/NAME/DIGEST.npz.

    Attributes:
        state_dir: None: no samples.
    """

    state_dir: Path | None

    def path(self, name: str, digest: str) -> Path:
        """The file of a version.

        Args:
            name: of the model.
            digest: of the version's files; see ``VersionFiles.digest``.

        Raises:
            VersionRefused: there is no state directory.
        """
        if self.state_dir is None:
            raise VersionRefused("there is no state directory: set ATELIER_STATE_DIR")
        return self.state_dir / _SUBDIRECTORY / name / f"{digest}.npz"

    def fingerprint(self, name: str) -> Hashable:
        """A fingerprint: differs if samples of a model were added, removed or changed, judged by size and time."""
        if self.state_dir is None:
            return ()
        try:
            with os.scandir(self.state_dir / _SUBDIRECTORY / name) as found:
                files = [(each.name, each.stat(follow_symlinks=False)) for each in islice(found, _MOST_FILES)]
        except OSError:
            return ()
        return tuple(sorted((file, each.st_size, each.st_mtime_ns, each.st_ino) for file, each in files))

    def read(self, name: str, digest: str) -> Golden | None:
        """The samples of a version; None without samples, or if this user may not read them.

        Raises:
            VersionRefused: the file is damaged.
        """
        if self.state_dir is None:
            return None
        path = self.path(name, digest)
        try:
            return Golden.parse(path, read_file(path, GOLDEN_LIMIT_BYTES), minimum_rows=1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            log.warning("model %s: golden samples in %s are not used: %s", name, self.state_dir, error.strerror)
            return None
        except OSError as error:
            raise VersionRefused(f"{path}: {error.strerror}") from error

    def write(self, name: str, digest: str, golden: Golden) -> Path:
        """Replace the samples of a version; all or nothing.

        Returns:
            The file.

        Raises:
            VersionRefused: there is no state directory, or the samples are too large.
            OSError: it cannot be written; what was there stays.
        """
        path, data = self.path(name, digest), golden.to_bytes()
        if len(data) > GOLDEN_LIMIT_BYTES:
            raise VersionRefused(f"the golden samples have {len(data)} bytes; at most {GOLDEN_LIMIT_BYTES} are read")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        return path
