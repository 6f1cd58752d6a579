"""The files of one version as its manifest states them: the bytes used are exactly the bytes that were hashed.

Files may be replaced at any moment, even between a check and the next open of the same path. So no checked file is
opened again by its path: small ones are parsed from the hashed bytes. Large ones, and files that a library must read
itself, are read from a private copy that was hashed while it was written. The manifest is read once, and everything is
compared with it from then on, even a spare that is opened hours later.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.contract.files.private import check_hash, check_size, copy_verified, private_directory
from app.contract.files.regular import Opener, chunks, open_regular, opened, shown, told
from app.contract.golden import GOLDEN_FILE
from app.contract.manifest import Manifest, check_listing, is_inside, read_manifest, verify_file
from app.contract.model_spec import KERAS_WEIGHTS_FILE, LITE_FILE, ONNX_FILE, SAVED_MODEL_FILE, SPEC_FILE
from app.errors import VersionRefused

# Up to this size a graph is opened from memory, without writing to disk; larger ones from a private copy.
GRAPH_IN_MEMORY_BYTES = 64 * 2**20
# Parts of a SavedModel, and files that no runtime reads. Any other file may contain weights of a graph.
_SAVED_MODEL = ("variables/", "assets/", "assets.extra/")
_SAVED_MODEL_FILES = frozenset({SAVED_MODEL_FILE, "fingerprint.pb", "keras_metadata.pb"})
_NO_WEIGHTS = frozenset(
    {
        SPEC_FILE,
        GOLDEN_FILE,
        LITE_FILE,
        KERAS_WEIGHTS_FILE,
        "metrics.json",
        "baseline.json",
        "card.md",
        "vocabulary.txt",
    }
)
# The key under which a graph names a file with weights; TensorProto.external_data in onnx.proto.
_NAMES_A_FILE = b"location"


@dataclass(frozen=True)
class Graph:
    """A verified ONNX graph.

    Attributes:
        origin: the original file, for messages.
        source: its bytes, or a private copy that exists while the graph is opened.
    """

    origin: Path
    source: bytes | Path


class VersionFiles:
    """The files of one version directory, checked against one reading of its manifest.

    Args:
        directory: of the version.
        place: parent directory of private copies.
        opener: opens files of the version.
        manifest: in place of its file.
        graph_file: path of the ONNX graph in it.
        saved_model_at: directory in it with saved_model.pb; "" is the version itself.
        others: whether the directory may contain unrelated files that are not in the manifest.

    Raises:
        VersionRefused: there is no valid manifest, or the files differ from its list.
    """

    def __init__(
        self,
        directory: Path,
        *,
        place: Path,
        opener: Opener = open_regular,
        manifest: Manifest | None = None,
        graph_file: str = ONNX_FILE,
        saved_model_at: str = "",
        others: bool = False,
    ) -> None:
        self.directory = directory
        self._place = place
        self._opener = opener
        self._manifest = read_manifest(directory, opener) if manifest is None else manifest
        self._graph_file = graph_file
        self._saved_model_at = saved_model_at
        self._unchecked = set(self._manifest.files)
        if not others:
            with told(directory):
                check_listing(directory, self._manifest)

    @property
    def digest(self) -> str:
        """Identifies these files: lower-case hexadecimal sha256 of their names and hashes."""
        lines = sorted(f"{entry.sha256}  {name}\n" for name, entry in self._manifest.files.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def has(self, name: str) -> bool:
        """Whether the manifest lists a file."""
        return name in self._manifest.files

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Read a small file as a whole.

        Raises:
            VersionRefused: the manifest does not list it as a file inside the version, it is larger than
                ``limit_bytes``, or it differs from the manifest.
        """
        path = self.directory / name
        entry = self._manifest.files.get(name)
        if entry is None:
            raise VersionRefused(f"{self.directory}: {shown(name)} is not in the manifest")
        if entry.size > limit_bytes:
            raise VersionRefused(f"{path} has {entry.size} bytes; at most {limit_bytes} bytes are read")
        with told(path), opened(path, self._opener) as descriptor:
            check_size(path, os.fstat(descriptor).st_size, entry.size)
            data = b"".join(chunks(descriptor, entry.size))
        check_hash(path, hashlib.sha256(data).hexdigest(), entry.sha256)
        self._unchecked.discard(name)
        return data

    def read_inside(self, name: str, limit_bytes: int) -> bytes:
        """Like ``read``, for a file that another file names: no link may lead out of the version.

        Raises:
            VersionRefused: as in ``read``, and for a path or a link that leads elsewhere.
        """
        if not is_inside(name):
            raise VersionRefused(f"{self.directory}: {shown(name)!r} is not the path of a file inside the version")
        with told(self.directory):
            if not (self.directory / name).resolve(strict=True).is_relative_to(self.directory.resolve(strict=True)):
                raise VersionRefused(f"{self.directory}: {shown(name)} is a link that leads out of the version")
        return self.read(name, limit_bytes)

    @contextmanager
    def graph(self) -> Iterator[Graph]:
        """The ONNX graph, in memory or as a private copy with the files that may contain its weights."""
        graph = self._graph_file
        origin = self.directory / graph
        entry = self._manifest.files.get(graph)
        if entry is None:
            raise VersionRefused(f"{origin}: the file does not exist")
        weights = [name for name in self._manifest.files if name != graph and self._may_hold_weights(name)]
        if entry.size <= GRAPH_IN_MEMORY_BYTES:
            data = self.read(graph, GRAPH_IN_MEMORY_BYTES)
            if not weights or _NAMES_A_FILE not in data:
                yield Graph(origin, data)
                return
            del data
        with self._copies([graph, *weights]) as copies:
            yield Graph(origin, copies / graph)

    @property
    def graph_bytes(self) -> int:
        """Bytes of the ONNX graph and of the files that may contain its weights."""
        return sum(
            entry.size
            for name, entry in self._manifest.files.items()
            if name == self._graph_file or self._may_hold_weights(name)
        )

    @property
    def weights_beside_bytes(self) -> int:
        """Bytes of the files that may contain weights of the ONNX graph, without the graph itself."""
        graph = self._manifest.files.get(self._graph_file)
        return self.graph_bytes - (0 if graph is None else graph.size)

    @property
    def saved_model_bytes(self) -> int:
        """Bytes of saved_model.pb and of its other files."""
        return sum(entry.size for name, entry in self._manifest.files.items() if self._is_of_saved_model(name))

    @property
    def saved_model_file(self) -> Path:
        """The original saved_model.pb, for messages; it need not exist."""
        return self.directory / self._saved_model_at / SAVED_MODEL_FILE

    @contextmanager
    def saved_model(self) -> Iterator[Path]:
        """A private directory with saved_model.pb and its other files."""
        with self._copies(name for name in self._manifest.files if self._is_of_saved_model(name)) as copies:
            yield copies / self._saved_model_at

    @property
    def all_bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self._manifest.files.values())

    @contextmanager
    def everything(self) -> Iterator[Path]:
        """A private directory with all files."""
        with self._copies(self._manifest.files) as copies:
            yield copies

    def check_rest(self) -> None:
        """Check the files that were not read yet.

        Raises:
            VersionRefused: names the first file that differs from the manifest.
        """
        for name in sorted(self._unchecked):
            with told(self.directory):
                verify_file(self.directory / name, self._manifest.files[name], self._opener)
            self._unchecked.discard(name)

    @contextmanager
    def _copies(self, names: Iterable[str]) -> Iterator[Path]:
        """A private directory with verified copies of these files."""
        with ExitStack() as stack:
            with told(self.directory):
                place = stack.enter_context(private_directory(self._place))
                for name in names:
                    self._copy(name, place)
            yield place

    def _may_hold_weights(self, name: str) -> bool:
        return name not in _NO_WEIGHTS and not self._is_of_saved_model(name)

    def _is_of_saved_model(self, name: str) -> bool:
        prefix = f"{self._saved_model_at}/" if self._saved_model_at else ""
        inner = name.removeprefix(prefix)
        return name.startswith(prefix) and (inner in _SAVED_MODEL_FILES or inner.startswith(_SAVED_MODEL))

    def _copy(self, name: str, place: Path) -> None:
        entry, target = self._manifest.files[name], place / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy_verified(self.directory / name, target, size=entry.size, sha256=entry.sha256, opener=self._opener)
        self._unchecked.discard(name)
