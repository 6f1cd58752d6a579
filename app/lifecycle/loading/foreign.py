"""Reads versions that other tools wrote: the contract is derived from the graph, and samples are generated."""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

from app.contract.derive import derive
from app.contract.files.regular import Opener, told
from app.contract.graph_facts import SIGNATURE, GraphFacts, Stated
from app.contract.model_spec import ONNX_FILE, SAVED_MODEL_FILE, ModelSpec
from app.contract.unlisted import check_links, list_file, list_files
from app.contract.version_files import Graph, VersionFiles
from app.errors import TensorFlowMissing, VersionRefused
from app.lifecycle.loading.backend_choice import foreign_backend
from app.lifecycle.loading.examined import examined_contract, named_contract, other_contracts
from app.lifecycle.loading.samples import FindSamples, Samples, no_samples
from app.lifecycle.loading.version_on_disk import VersionOnDisk
from app.repository.backend_file import BACKEND_FILE, Plugin
from app.repository.layouts import ForeignFiles, foreign_files
from app.repository.places import Place
from app.repository.policy import BackendName, RunBy
from app.repository.told import Told
from app.repository.triton.model import signature
from app.runtime.backend import Backend
from app.runtime.engines.process_backend import ProcessBackend
from app.runtime.engines.worker_loop import HOW_TO_INSTALL

# Largest size of a protocol buffer in bytes.
GRAPH_LIMIT_BYTES = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class ForeignReader:
    """Reads versions without model.json.

    Attributes:
        make_backend, make_savedmodel, read_facts, open_file, private_dir, default_backend, has_tensorflow,
            require_verified, make_plugin, plugins: see ``Loader``.
        find_samples: the samples of a version.
        told: what the log has said about the models.
    """

    make_backend: Callable[[Graph, ModelSpec, int], Backend]
    make_savedmodel: Callable[..., ProcessBackend]
    read_facts: Callable[[Graph], GraphFacts]
    has_tensorflow: Callable[[], bool]
    open_file: Opener
    private_dir: Path
    default_backend: BackendName
    make_plugin: Callable[..., ProcessBackend]
    told: Told
    plugins: Collection[str] = ()
    find_samples: FindSamples = no_samples
    require_verified: bool = False

    def read(self, place: Place, version: int, stated: BackendName | None, *, threads: int) -> VersionOnDisk:
        """The files and the contract of a version. Blocks.

        Args:
            place: of its model.
            version: its number.
            stated: backend in the settings of the model; None takes the default, or the only one possible.
            threads: of a SavedModel.

        Raises:
            VersionRefused: its files cannot be served, or not by that backend.
        """
        if place.file is not None:
            foreign_backend(place.file, ForeignFiles(place.file.name, None), stated, self.default_backend)
            with told(place.file):
                _check_size(place.file)
                manifest = list_file(place.file, self.open_file)
            files = VersionFiles(
                place.file.parent,
                place=self.private_dir,
                opener=self.open_file,
                manifest=manifest,
                graph_file=place.file.name,
                others=True,
            )
            return self._graph(place.name, files, None)
        directory = place.version_directory(version)
        with told(directory):
            found = foreign_files(directory)
        if found.plugin is not None:
            return self._plugin(place, directory, found.plugin, stated, threads)
        backend = foreign_backend(directory, found, stated, self.default_backend)
        if backend == "savedmodel" and not self.has_tensorflow():
            raise TensorFlowMissing(f"{directory}: TensorFlow is not installed; {HOW_TO_INSTALL}")
        settings = signature(place.directory, self.told)
        with told(directory):
            _check_paths(directory, found, backend)
            manifest = list_files(directory, self.open_file)
        files = VersionFiles(
            directory,
            place=self.private_dir,
            opener=self.open_file,
            manifest=manifest,
            graph_file=found.graph or ONNX_FILE,
            saved_model_at=found.saved_model or "",
        )
        if backend == "onnx":
            return self._graph(place.name, files, settings)
        return self._saved_model(place.name, files, settings, threads)

    def _samples(self, name: str, files: VersionFiles) -> Callable[[ModelSpec], Samples | None]:
        """A function from a contract to its samples; a version that is refused without samples does not run."""
        found = self.find_samples(name, files)
        if found is None and self.require_verified:
            raise VersionRefused(
                f"{files.directory} is unverified: it has no golden samples; --require-verified asks for golden "
                f"samples, and `python -m app verify {quote(name)}` gives it some"
            )
        return found or (lambda _: None)

    def _graph(self, name: str, files: VersionFiles, stated: Stated | None) -> VersionOnDisk:
        samples = self._samples(name, files)
        with files.graph() as graph:
            spec, alone = derive(name, self.read_facts(graph), stated)
            spec = spec.with_utf8_inputs()  # ONNX Runtime's strings
            backend = self.make_backend(graph, spec, 1)
        try:
            contract = examined_contract(backend, spec, alone, stated, samples(spec))
        except BaseException:
            backend.close()
            raise
        if contract.spec is not spec:  # it was opened for another contract
            backend.close()
            return VersionOnDisk(files=files, contract=contract, backend="onnx")
        return VersionOnDisk(files=files, contract=contract, backend="onnx", running=backend)

    def _plugin(
        self, place: Place, directory: Path, plugin: Plugin, stated: BackendName | None, threads: int
    ) -> VersionOnDisk:
        """A version that backend.json names a backend or a transform for."""
        kind, name = plugin
        if stated is not None:
            raise VersionRefused(f"{directory}: backend is {stated!r} in the settings, and {name!r} in {BACKEND_FILE}")
        if name not in self.plugins:
            raise VersionRefused(
                f"{directory}: {BACKEND_FILE} names the {kind} {name!r}, which is not switched on; "
                f"--plugins {name} (or ATELIER_PLUGINS) does so, if an installed package has it"
            )
        with told(directory):
            check_links(directory, "")
            manifest = list_files(directory, self.open_file)
        files = VersionFiles(directory, place=self.private_dir, opener=self.open_file, manifest=manifest)
        make = partial(self.make_plugin, directory, kind=kind, name=name, snapshot=files.everything)
        return self._in_process(place.name, files, None, threads, make=make, path=directory, run_by="plugin")

    def _saved_model(self, name: str, files: VersionFiles, stated: Stated | None, threads: int) -> VersionOnDisk:
        path = files.saved_model_file
        signature = SIGNATURE if stated is None else stated.signature
        make = partial(self.make_savedmodel, path, snapshot=files.saved_model, signature=signature)
        return self._in_process(name, files, stated, threads, make=make, path=path, run_by="savedmodel")

    def _in_process(
        self,
        name: str,
        files: VersionFiles,
        stated: Stated | None,
        threads: int,
        *,
        make: Callable[..., ProcessBackend],
        path: Path,
        run_by: RunBy,
    ) -> VersionOnDisk:
        """A version that runs in a separate process, which reports its signatures."""
        samples = self._samples(name, files)
        alone, signature = "", SIGNATURE if stated is None else stated.signature

        def contract_of(signatures: dict[str, GraphFacts]) -> ModelSpec:
            nonlocal alone
            if (facts := signatures.get(signature)) is None:
                raise VersionRefused(f"{path}: it has no signature {signature!r}; it has {sorted(signatures)}")
            spec, alone = derive(name, facts, stated)
            return spec

        backend = make(contract_of, threads)
        try:
            contract = examined_contract(backend, backend.spec, alone, stated, samples(backend.spec))
            contract = named_contract(contract, backend, signature)
            if contract.spec is not backend.spec:
                backend.follow(contract.spec)
            others = other_contracts(backend, name)
        except BaseException:
            backend.close()
            raise
        return VersionOnDisk(files=files, contract=contract, backend=run_by, others=others, running=backend, again=make)


def _check_paths(directory: Path, found: ForeignFiles, backend: BackendName) -> None:
    """Refuse links that lead out of the version, and a graph that is too large, before anything is read."""
    if backend == "savedmodel":
        inside = found.saved_model or ""
        path = directory / inside / SAVED_MODEL_FILE
    else:
        inside = found.graph or ""
        path = directory / inside
    if backend == "savedmodel" or found.is_named:
        check_links(directory, inside)
    _check_size(path)


def _check_size(path: Path) -> None:
    if (size := os.stat(path).st_size) > GRAPH_LIMIT_BYTES:
        raise VersionRefused(f"{path} has {size} bytes; a graph has at most {GRAPH_LIMIT_BYTES}")
