"""No file in the models directory stops the service, takes its memory, or keeps other models from being followed."""

import json
import os
import re
import socket
import time
import zipfile
from contextlib import closing

import numpy as np
import pytest

from app.contract.golden import GOLDEN_FILE
from app.contract.manifest import MANIFEST_FILE, write_manifest
from tests.support.model_state import serving
from tests.support.service import wait_until
from tests.support.tiny_models import write_brightness_model, write_words_model

# Memory above that of an idle service with valid models, while it reads all the broken files below.
MOST_MB = 120


def in_place_of(file, make):
    """Replaces a file by something else."""

    def spoil(directory):
        path = directory / file
        path.unlink(missing_ok=True)
        make(path)

    return spoil


def a_socket(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def sparse(size):
    def make(path):
        with path.open("wb") as file:
            file.truncate(size)

    return make


def stated(document):
    def change(directory):
        path = directory / "model.json"
        merged = json.loads(path.read_text()) | document
        path.write_text(json.dumps(merged))
        write_manifest(directory)

    return change


def policy(document):
    return lambda directory: (directory.parent / "serving.json").write_text(json.dumps(document))


def a_bomb(directory):
    """A few hundred kilobytes that inflate to 400 MB."""
    with zipfile.ZipFile(directory / GOLDEN_FILE, "w", zipfile.ZIP_DEFLATED) as archive:
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, np.uint8)) | {"shape": (400 * 2**20,)}
        with archive.open("input:pixels.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, header)
            for _ in range(400):
                member.write(bytes(2**20))
    write_manifest(directory)


def circles(directory):
    for name in "ab":
        (directory / name).symlink_to(".")
    write_manifest(directory)


def many_paths(directory):
    """Forty directories with so many paths through them that a walk never ends."""
    for level in range(40):
        (directory / f"d{level}").mkdir()
        for name in "ab":
            (directory / f"d{level}" / name).symlink_to(f"../d{level + 1}")


def too_many(directory):
    (directory / "assets").mkdir()
    for number in range(4200):
        (directory / "assets" / str(number)).touch()


def too_deep(directory):
    (directory / "/".join("d" * 30)).mkdir(parents=True)


IMAGE = {"kind": "image", "input": "pixels"}
PIXELS = {"name": "pixels", "dtype": "uint8"}
REFUSED = {
    "fifo-model": (in_place_of("model.json", os.mkfifo), "model.json is a FIFO"),
    "fifo-manifest": (in_place_of("model.onnx", os.mkfifo), "model.onnx is a FIFO"),
    "zero-golden": (in_place_of("golden.npz", lambda path: path.symlink_to("/dev/zero")), "golden.npz is a device"),
    "socket-card": (in_place_of("model.json", a_socket), "No such device or address"),
    "directory-spec": (in_place_of("model.json", lambda path: path.mkdir()), "model.json is in the manifest"),
    "huge-graph": (in_place_of("model.onnx", sparse(2**41)), "2199023255552 bytes"),
    "huge-manifest": (in_place_of("manifest.json", sparse(2**40)), "at most 4194304 bytes are read"),
    "policy-fifo": (lambda directory: os.mkfifo(directory.parent / "serving.json"), "serving.json is a FIFO"),
    "policy-zero": (
        lambda directory: (directory.parent / "serving.json").symlink_to("/dev/zero"),
        "serving.json is a device",
    ),
    "policy-huge": (
        lambda directory: sparse(2**40)(directory.parent / "serving.json"),
        "has 1099511627776 bytes; at most 1048576",
    ),
    "policy-batch": (policy({"batching": {"max_batch_size": 10**12}}), "max_batch_size is 1000000000000"),
    "policy-deep": (
        lambda directory: (directory.parent / "serving.json").write_text('{"a":' * 10**5),
        "recursion limit exceeded",
    ),
    "bomb": (a_bomb, "at most 268435456 bytes are read"),
    "many-files": (too_many, "more than 4096 files"),
    "deep": (too_deep, "directories more than 16 deep"),
    "wide-steps": (
        stated(
            {"preprocessing": {**IMAGE, "steps": [{"step": "resize", "arguments": {"width": 10**9, "height": 10**9}}]}}
        ),
        "at most 2048 is accepted",
    ),
    "wide-input": (stated({"inputs": [{**PIXELS, "shape": [10**9, 10**9]}]}), "inputs.0.shape.0"),
    "labels": (
        stated({"postprocessing": {"kind": "classification", "output": "probabilities", "labels": ["x"] * 2**18}}),
        "at most 131072 items",
    ),
}
# Unusual, but valid: they serve.
ACCEPTED = {
    "hint": stated({"batching": {"max_batch_size": 200_000}}),
    "circles": circles,
    "many-paths": many_paths,
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    models = tmp_path_factory.mktemp("bad") / "models"
    write_words_model(models)
    for name, (spoil, _) in REFUSED.items():
        spoil(write_brightness_model(models, name=name))
    for name, spoil in ACCEPTED.items():
        spoil(write_brightness_model(models, name=name))
    (models / os.fsdecode(b"no-text-\xff") / "1").mkdir(parents=True)
    (models / os.fsdecode(b"no-text-\xff") / "1" / MANIFEST_FILE).write_text("{}")
    (models / "a\nline" / "1").mkdir(parents=True)
    (models / "a\nline" / "1" / MANIFEST_FILE).write_text("{}")
    return models


def peak_mb(service):
    with open(f"/proc/{service.process.pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) / 1024


@pytest.mark.parametrize("watch", ["auto", "poll"])
def test_bad_files_concern_their_own_model_alone(start, models, watch, tmp_path):
    alone = tmp_path / "models"
    write_words_model(alone)
    rest = peak_mb(start(alone))
    started = time.monotonic()
    service = start(models, "--watch", watch)
    assert time.monotonic() - started < 20
    index = {line["name"]: line for line in service.client.post("/v2/repository/index").json()}
    for name, (_, message) in REFUSED.items():
        shown = f"{index[name]['reason']}\n{service.log}" if name.startswith("policy") else index[name]["reason"]
        assert message in shown, (name, index[name])
    for name in ACCEPTED:
        assert index[name]["state"] == "READY", index[name]
    assert index.keys() == {"words", *REFUSED, *ACCEPTED}, "directories whose names no client can write are left out"
    assert peak_mb(service) - rest < MOST_MB
    version = {"auto": 2, "poll": 3}[watch]
    write_words_model(models / ".staging", version=version).rename(models / "words" / str(version))
    wait_until(lambda: serving(service, "words") == [str(version)])
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 15


# Opening this file blocks, as on a network file system whose server is gone.
HUNG = """
import os, time
really = os.open
def hung(path, *arguments, **options):
    if str(path).endswith("hung/1/model.json"):
        open(os.environ["HUNG"], "w").close()
        time.sleep(600)
    return really(path, *arguments, **options)
os.open = hung
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_load_that_never_ends_does_not_keep_the_process_from_ending(start, tmp_path, workers):
    (tmp_path / "sitecustomize.py").write_text(HUNG)
    environment = {"PYTHONPATH": str(tmp_path), "HUNG": str(tmp_path / "is-hung")}
    models = tmp_path / "models"
    write_brightness_model(models, name="hung")
    service = start(models, "--workers", workers, wait_ready=False, environment=environment)
    wait_until((tmp_path / "is-hung").exists)
    assert service.client.get("/v2/health/live").status_code == 200
    started = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - started < 25


def test_links_that_make_sense_go_on_working(start, tmp_path):
    """A model elsewhere, a version elsewhere, and serving.json as Kubernetes mounts it: a link through a link."""
    store, models = tmp_path / "store", tmp_path / "models"
    first = write_brightness_model(store / "a", version=1)
    second = write_brightness_model(store / "b", version=2, bias=50.0)
    words = write_words_model(store / "c").parent
    (models / "brightness").mkdir(parents=True)
    (models / "words").symlink_to(words)
    (models / "brightness" / "1").symlink_to(first)
    mounted = models / "brightness" / "..2026_11_28"
    mounted.mkdir()
    (mounted / "serving.json").write_text('{"version_policy": {"all": true}}')
    (models / "brightness" / "..data").symlink_to(mounted.name)
    (models / "brightness" / "serving.json").symlink_to("..data/serving.json")
    service = start(models)
    assert serving(service, "words") == ["1"]
    assert serving(service) == ["1"]
    (models / "brightness" / "2").symlink_to(second)
    wait_until(lambda: sorted(serving(service)) == ["1", "2"])
    reply = service.client.post("/v2/repository/models/brightness/promote", json={"version": 1})
    assert reply.status_code == 200
    assert (models / "brightness" / "serving.json").is_symlink()
    assert json.loads((mounted / "serving.json").read_text())["version_labels"] == {"stable": 1}
