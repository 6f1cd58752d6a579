"""Files that are replaced while a version loads: the hashed files serve, or none do."""

import hashlib
import itertools
import json
import os
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.contract.files.regular import open_regular
from app.contract.golden import Golden
from app.contract.manifest import write_manifest
from app.contract.version_files import VersionFiles
from app.errors import ServingError, VersionRefused
from app.lifecycle.loading.loader import Loader
from app.repository.places import Places
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.engines.savedmodel import SavedModelBackend
from tests.support.fakes import Observed
from tests.support.stub_worker import STUB
from tests.support.tiny_models import flip_one_weight, write_brightness_model, write_rule_model, write_words_model

FILES = ("manifest.json", "model.json", "vocabulary.txt", "golden.npz", "model.onnx")


class Swapper:
    """Opens files, and replaces ``target`` by another file just before or just after one of them is opened.

    Args:
        target: that is replaced.
        evil: what replaces it.
        at: how many files are opened before that.
        after: whether the file has been opened before.
    """

    def __init__(self, target: Path, evil: bytes, *, at: int, after: bool) -> None:
        self.target, self.evil, self.at, self.after = target, evil, at, after
        self.opened = 0

    def __call__(self, path):
        descriptor = open_regular(path) if self.after else None
        if self.opened == self.at:
            other = self.target.with_name(".other")
            other.write_bytes(self.evil)
            os.replace(other, self.target)
        self.opened += 1
        return open_regular(path) if descriptor is None else descriptor


class Bench:
    """A loader that records the graphs that were opened."""

    def __init__(self, models, **options):
        self.graphs = []

        def make_backend(graph, spec, threads):
            source = graph.source
            self.graphs.append(source if isinstance(source, bytes) else source.read_bytes())
            return OnnxBackend(graph, spec, threads)

        options = {"private_dir": models.parent / "private", "make_backend": make_backend} | options
        options["private_dir"].mkdir(exist_ok=True)
        self.loader = Loader(
            places=Places(models),
            threads=1,
            observer_for=lambda *_: Observed(),
            inline_below_s=1.0,
            pixel_limit=100,
            clock=time.perf_counter,
            **options,
        )

    def load(self, name, version=1):
        model = self.loader.load(name, version)
        model.batcher.close()
        return model


def hashes(version):
    files = json.loads((version / "manifest.json").read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items()}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def write_pair(tmp_path):
    """A version, and another valid one of the same model with different files."""
    good = write_words_model(tmp_path / "models")
    evil = write_words_model(tmp_path / "evil")
    flip_one_weight(evil, "weights")
    vocabulary = (evil / "vocabulary.txt").read_text().split()
    (evil / "vocabulary.txt").write_text("\n".join(reversed(vocabulary)) + "\n")
    spec = json.loads((evil / "model.json").read_text()) | {"description": "evil"}
    (evil / "model.json").write_text(json.dumps(spec))
    replace(Golden.read(evil), tolerance={"default": 1e-2}).write(evil)
    write_manifest(evil)
    return good, evil


@pytest.mark.parametrize("weights_aside", [False, True], ids=["in memory", "in a private copy"])
@pytest.mark.parametrize("file", FILES)
def test_a_file_swapped_at_any_moment_is_refused_or_not_noticed(tmp_path, file, weights_aside):
    good, evil = write_pair(tmp_path)
    if weights_aside:
        make_copies_necessary(good)
    evil_data = (evil / file).read_bytes()
    original = (good / file).read_bytes()
    stated = hashes(good)
    outcomes = set()
    for at, after in itertools.product(range(100), [False, True]):
        (good / file).write_bytes(original)
        swapper = Swapper(good / file, evil_data, at=at, after=after)
        bench = Bench(tmp_path / "models", open_file=swapper)
        try:
            model = bench.load("words")
        except VersionRefused:
            outcomes.add("refused")
        else:
            outcomes.add("served")
            assert model.spec.description != "evil"
            assert (
                sha256("".join(f"{token}\n" for token in model.tokenizer.tokens).encode()) == stated["vocabulary.txt"]
            )
        assert {sha256(graph) for graph in bench.graphs} <= {stated["model.onnx"]}
        assert list((tmp_path / "private").iterdir()) == []
        if swapper.opened <= at:
            break
    assert "served" in outcomes


def make_copies_necessary(version):
    """A graph that names an external file which exists: its weights could be in it."""
    import onnx

    graph = onnx.load(version / "model.onnx")
    graph.metadata_props.add(key="location", value="nowhere")
    (version / "model.onnx").write_bytes(graph.SerializeToString())
    (version / "weights.bin").write_bytes(b"weights")
    write_manifest(version)


def test_a_graph_keeps_its_weights_in_a_file_next_to_it(tmp_path):
    import onnx

    version = write_brightness_model(tmp_path / "models")
    graph = onnx.load(version / "model.onnx")
    save = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(graph, version / "model.onnx", **save)
    write_manifest(version)
    bench = Bench(tmp_path / "models")
    assert bench.load("brightness").golden_difference < 1e-5
    assert list((tmp_path / "private").iterdir()) == []
    (version / "weights.bin").unlink()
    write_manifest(version)
    with pytest.raises(VersionRefused, match="External data path does not exist"):
        bench.load("brightness")


def test_no_weights_are_read_from_the_working_directory(tmp_path, monkeypatch):
    import onnx

    version = write_brightness_model(tmp_path / "models")
    graph = onnx.load(version / "model.onnx")
    save = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(graph, version / "model.onnx", **save)
    (tmp_path / "here").mkdir()
    shutil.move(version / "weights.bin", tmp_path / "here")
    write_manifest(version)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(VersionRefused, match="External data path does not exist"):
        Bench(tmp_path / "models").load("brightness")


def test_files_swapped_all_the_time_by_another_thread_never_serve(tmp_path):
    good, evil = write_pair(tmp_path)
    contents = {file: ((good / file).read_bytes(), (evil / file).read_bytes()) for file in FILES}
    stated, ends = hashes(good), threading.Event()

    def swap():
        for which in itertools.cycle([0, 1]):
            for file, versions in contents.items():
                other = tmp_path / "other"
                other.write_bytes(versions[which if file != "manifest.json" else 0])
                os.replace(other, good / file)
            if ends.is_set():
                return

    thread = threading.Thread(target=swap)
    thread.start()
    bench, refused = Bench(tmp_path / "models"), 0
    try:
        for _ in range(60):
            try:
                model = bench.load("words")
            except ServingError:
                refused += 1
            else:
                assert model.spec.description != "evil"
    finally:
        ends.set()
        thread.join()
    assert refused
    assert {sha256(graph) for graph in bench.graphs} <= {stated["model.onnx"]}


def test_a_savedmodel_is_loaded_from_a_copy_of_the_hashed_files_at_each_start_of_its_process(tmp_path):
    version = write_rule_model(tmp_path / "models")
    (version / "saved_model.pb").write_bytes(b"the graph")
    (version / "variables").mkdir()
    (version / "variables" / "variables.data-00000-of-00001").write_bytes(b"the weights")
    write_manifest(version)
    snapshots = []

    def make_savedmodel(path, spec, threads, *, snapshot):
        snapshots.append(snapshot)
        return SavedModelBackend(path, spec, threads, snapshot=snapshot, command=STUB)

    bench = Bench(tmp_path / "models", make_savedmodel=make_savedmodel, default_backend="savedmodel")
    model = bench.loader.load("rule", 1)
    backend = model.batcher.backend
    assert list((tmp_path / "private").iterdir()) == []
    with snapshots[0]() as copy:
        assert copy.parent == tmp_path / "private"
        found = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
        assert found == {"saved_model.pb", "variables/variables.data-00000-of-00001"}
    (version / "variables" / "variables.data-00000-of-00001").write_bytes(b"the w3ights")
    os.kill(backend.pid, 9)
    row = {"x": np.ones((1, 1), np.float32)}
    with suppress(ServingError):  # the batch that notices
        backend.run(row)
    with pytest.raises(ServingError, match=r"cannot be restarted: .*variables\.data-00000-of-00001: sha256"):
        backend.run(row)
    (version / "variables" / "variables.data-00000-of-00001").write_bytes(b"the weights")
    assert backend.run(row)["values"].tolist() == [[1]]
    assert list((tmp_path / "private").iterdir()) == []
    model.batcher.close()


@pytest.mark.parametrize(
    "name", ["../elsewhere.txt", "/etc/hostname", "link.txt", "unlisted.txt", "..", "manifest.json"]
)
def test_a_vocabulary_is_a_file_of_the_version(tmp_path, name):
    version = write_words_model(tmp_path / "models")
    (version.parent / "elsewhere.txt").write_text((version / "vocabulary.txt").read_text())
    if name == "link.txt":
        (version / name).symlink_to("../elsewhere.txt")
    spec = json.loads((version / "model.json").read_text())
    spec["preprocessing"]["vocabulary"] = name
    (version / "model.json").write_text(json.dumps(spec))
    write_manifest(version)
    with pytest.raises(VersionRefused, match=r"inside the version|out of the version|not in the manifest|No such file"):
        Bench(tmp_path / "models").load("words")


def test_the_spare_of_a_gpu_is_the_graph_that_was_verified(tmp_path):
    """It may be opened hours after the load, from a directory whose files may have changed."""
    version = write_brightness_model(tmp_path / "models")
    files = VersionFiles(version, place=tmp_path)
    with files.graph() as graph:
        first = graph.source
    flip_one_weight(version, "weights")
    with pytest.raises(VersionRefused, match=r"model\.onnx: sha256"), files.graph():
        pass
    (version / "model.onnx").write_bytes(first)
    with files.graph() as graph:
        assert graph.source == first
