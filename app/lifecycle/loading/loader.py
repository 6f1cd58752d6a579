"""From a version directory to a LoadedModel: every check between the disk and the first request."""

import logging
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from app.batching.loop_rest import LoopRest
from app.batching.work import BatchObserver
from app.contract.files.regular import Opener, open_regular
from app.contract.graph_facts import GraphFacts
from app.contract.version_files import Graph, VersionFiles
from app.drift.watch import DriftSettings
from app.lifecycle.loading.assembly import Assembly
from app.lifecycle.loading.backend_choice import backend_of
from app.lifecycle.loading.device_choice import DeviceChooser, Placed, close_all
from app.lifecycle.loading.foreign import ForeignReader
from app.lifecycle.loading.memory_need import MemoryNeed, MemoryNeeds
from app.lifecycle.loading.opening import Opening
from app.lifecycle.loading.samples import FindSamples, no_samples
from app.lifecycle.loading.version_contract import VersionContract, read_contract
from app.lifecycle.loading.version_on_disk import VersionOnDisk
from app.loaded import LoadedModel
from app.repository.layouts import Layout, layout_of
from app.repository.places import Place, Places
from app.repository.policy import BackendName, ServingPolicy
from app.repository.policy_file import read_policy
from app.runtime.backend import Backend, take_rows
from app.runtime.engines.onnx import read_facts
from app.runtime.engines.plugin import PluginBackend
from app.runtime.engines.process_backend import ProcessBackend
from app.runtime.engines.savedmodel import SavedModelBackend, is_installed
from app.types import Clock, Tensors

log = logging.getLogger("atelier.lifecycle")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The instances of a version, before they serve.

    Attributes:
        contract: of the version.
        digest: of its files.
        memory: that it takes.
        placed: at least one.
        assembly: makes what serves of them.
        others: contracts of the other signatures of a SavedModel.
    """

    contract: VersionContract
    digest: str
    memory: MemoryNeed
    placed: list[Placed]
    assembly: Assembly
    others: Mapping[str, VersionContract]


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Loads versions of the repository.

    Attributes:
        places: where the models are.
        make_backend: opens a graph for a contract, with that many threads; ``arena=False`` as ``OnnxBackend``.
        threads: that the machine has for one backend call.
        observer_for: returns the observer of the batches of a model version.
        inline_below_s: batches estimated to be faster run on the event loop.
        pixel_limit: most pixels of an image in a request.
        clock: monotonic seconds.
        loop_rest: of the process; None: the event loop has a core of its own.
        default_backend: runs models whose serving.json does not name one; see ``backend_choice``.
        make_savedmodel: as ``SavedModelBackend``, given ``snapshot``.
        device_chooser: opens versions on their devices; None loads everything on the CPU.
        private_dir: place of private copies of files that are too large for the memory, while a version loads.
        open_file: opens the files of a version.
        read_facts: reads inputs and outputs of a graph.
        require_verified: refuse versions without golden samples.
        find_samples: golden samples of versions of other tools.
        has_tensorflow: whether SavedModels of other tools can run.
        make_plugin: as ``PluginBackend``.
        plugins: names of the backends of installed packages that are switched on.
        memory_needs: measures what each version takes.
        drift: how served rows are compared with the training data; None: not at all.
    """

    places: Places
    make_backend: Callable[..., Backend]
    threads: int
    observer_for: Callable[[str, int], BatchObserver]
    inline_below_s: float
    pixel_limit: int
    clock: Clock
    loop_rest: LoopRest | None = None
    default_backend: BackendName = "onnx"
    make_savedmodel: Callable[..., SavedModelBackend] = SavedModelBackend
    device_chooser: DeviceChooser | None = None
    private_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    open_file: Opener = open_regular
    read_facts: Callable[[Graph], GraphFacts] = read_facts
    require_verified: bool = False
    find_samples: FindSamples = no_samples
    has_tensorflow: Callable[[], bool] = is_installed
    make_plugin: Callable[..., ProcessBackend] = PluginBackend
    plugins: Collection[str] = ()
    memory_needs: MemoryNeeds = field(default_factory=MemoryNeeds)
    drift: DriftSettings | None = None

    def load(self, name: str, version: int, serving: ServingPolicy | None = None) -> LoadedModel:
        """Verify, open, replay the golden samples, warm up. Blocks.

        Args:
            name: model.
            version: its number.
            serving: the settings to load it with; None takes those in serving.json.

        Raises:
            VersionRefused: names the file of the version and the rule that it breaks.
        """
        opened = self.open(name, version, serving)
        assembly, placed = opened.assembly, opened.placed
        try:
            signatures = assembly.other_signatures(opened.others, placed)
            return assembly.loaded(opened.contract, placed, signatures, memory=opened.memory)
        except BaseException:
            close_all(placed)
            raise

    def open(self, name: str, version: int, serving: ServingPolicy | None = None) -> "Opened":
        """All of ``load`` except the queue: all instances, verified; the caller must close them."""
        place = self.places.of(name)
        serving = serving or read_policy(place.directory, place.stated)
        assembly = Assembly(
            name=name,
            version=version,
            serving=serving,
            observer=self.observer_for(name, version),
            inline_below_s=self.inline_below_s,
            pixel_limit=self.pixel_limit,
            clock=self.clock,
            loop_rest=self.loop_rest,
            drift=self.drift,
        )
        opening = Opening(
            serving=serving,
            make_backend=self.make_backend,
            threads=self.threads,
            device_chooser=self.device_chooser,
            clock=self.clock,
        )
        with self.memory_needs.load() as this:
            read = self._read(place, version, opening)
            try:
                placed = opening.instances(read, assembly.gate(read.contract))
            finally:
                read.close()
            need = self.memory_needs.need(this, read.files, read.backend, [each.backend for each in placed])
        _free_spare(placed, read.contract.samples)
        return Opened(
            contract=read.contract,
            digest=read.files.digest,
            memory=need,
            placed=placed,
            assembly=assembly,
            others=read.others,
        )

    def _read(self, place: Place, version: int, opening: Opening) -> VersionOnDisk:
        """The files of a version, and its contract: as written, or derived from its graph."""
        directory = place.version_directory(version)
        if place.file is None and layout_of(directory) is not Layout.FOREIGN:
            files = VersionFiles(directory, place=self.private_dir, opener=self.open_file)
            backend = backend_of(files, opening.serving.backend, self.default_backend)
            again = partial(self.make_savedmodel, files.saved_model_file, snapshot=files.saved_model)
            contract = read_contract(files, place.name, is_named=place.is_named)
            return VersionOnDisk(files=files, contract=contract, backend=backend, again=again)
        reader = ForeignReader(
            make_backend=opening.make,
            make_savedmodel=self.make_savedmodel,
            read_facts=self.read_facts,
            has_tensorflow=self.has_tensorflow,
            open_file=self.open_file,
            private_dir=self.private_dir,
            default_backend=self.default_backend,
            find_samples=self.find_samples,
            require_verified=self.require_verified,
            make_plugin=self.make_plugin,
            told=self.places.told,
            plugins=self.plugins,
        )
        return reader.read(place, version, opening.serving.backend, threads=opening.threads_each)


def _free_spare(placed: Sequence[Placed], samples: Tensors | None) -> None:
    """Free what only the largest batches of the verification needed. The memory need of the version includes it."""
    if samples is None:
        return
    row = take_rows(samples, 0, 1)
    try:
        for each in placed:
            each.backend.free_spare(row)
    except BaseException:
        close_all(placed)
        raise
