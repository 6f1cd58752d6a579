"""Imported models serve: images, strings by TensorFlow, token ids; and the commands of the how-to page work."""

import re
import subprocess
import sys

import httpx
import numpy as np
import pytest

from tests.support.images import png
from tests.support.readme import code, commands
from tests.support.service import ROOT, Service, own_environment
from tests.support.training_command import run_training

PAGE = ROOT / "docs/how-to/bring-a-model.md"


def python(*arguments, cwd):
    if arguments[:2] == ("-m", "training"):
        ended = run_training(*arguments[2:], cwd=cwd)
        assert ended.code == 0, ended.out + ended.err
        return ended.out
    environment = {**own_environment(), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def models(saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    (folder / "moods.txt").write_text("bad\ngood\n")
    for file, name, *arguments in (
        ("image.keras", "picture", "--as", "image", "--std", "255", "--labels", "labels.txt"),
        ("channels.onnx", "colours", "--as", "image", "--labels", "labels.txt"),
        ("strings.keras", "moods", "--as", "text", "--labels", "moods.txt"),
    ):
        python("-m", "training", "import", str(saved / file), "--name", name, *arguments, "--publish", cwd=folder)
    return folder / "models"


@pytest.fixture(scope="module")
def service(models):
    service = Service(models)
    yield service
    assert service.stop() == 0


def test_every_imported_version_passes_the_golden_gate(service):
    for name, platform in (
        ("picture", "onnxruntime_onnx"),
        ("colours", "onnxruntime_onnx"),
        ("moods", "tensorflow_savedmodel"),
    ):
        described = service.client.get(f"/v2/models/{name}").json()
        assert described["platform"] == platform
        assert service.metric("atelier_model_verified", model=name) == 1


def test_an_image_of_any_size_gets_a_label(service):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[..., 1] = 200
    reply = service.client.post("/v1/models/colours:classify", content=png(pixels))
    assert reply.json()["results"][0][0][0] == "green"
    reply = service.client.post("/v1/models/picture:classify", content=png(pixels))
    assert {label for label, _ in reply.json()["results"][0]} == {"red", "green", "blue"}


def test_a_sentence_is_sent_to_the_model_unchanged(service):
    replies = [
        service.client.post("/v1/models/moods:predict", json={"instances": [[text]]}).json()
        for text in ("good good good good", "bad bad bad bad")
    ]
    good, bad = (reply["predictions"][0] for reply in replies)
    assert good != bad
    assert sum(good) == pytest.approx(1, abs=1e-6)


def test_lines_are_scored_by_a_model_of_strings_here_and_by_a_service(service, models, tmp_path):
    (tmp_path / "texts.txt").write_text("good film\nbad bad bad\n")
    for place in (("--models-dir", str(models)), ("--url", service.url)):
        python("-m", "app", "score", "moods", "texts.txt", "--output", "out.csv", "--overwrite", *place, cwd=tmp_path)
        lines = (tmp_path / "out.csv").read_text().splitlines()
        assert lines[0] == "id,label,score,error"
        assert [line.split(",")[0] for line in lines[1:]] == ["texts.txt:1", "texts.txt:2"]
        assert all(line.split(",")[1] in {"good", "bad"} and line.endswith(",") for line in lines[1:])


def test_models_shows_that_a_model_was_imported(saved, tmp_path):
    python("-m", "training", "import", str(saved / "old.keras"), "--name", "old", "--publish", cwd=tmp_path)
    printed = python("-m", "app", "models", cwd=tmp_path)
    assert "measured  nothing here; it was imported" in printed


def test_the_commands_of_the_page_work(tmp_path):
    """Its Python and its commands, in order, in an empty folder."""
    for block in code("python", PAGE):
        python("-W", "ignore", "-c", block, cwd=tmp_path)
    steps = commands(PAGE)
    assert len(steps) >= 2
    for step in steps:
        line = step.line.split()
        if line[:4] == ["python", "-m", "app", "serve"]:
            service = Service(tmp_path / line[line.index("--models-dir") + 1])
            continue
        if line[0] == "curl":
            [content] = re.findall(r"@(\S+)", step.line)
            reply = httpx.post(
                f"{service.url}/v1/models/garments:classify?top_k=1", content=(tmp_path / content).read_bytes()
            )
            printed = reply.text
        else:
            assert line[:2] == ["python", "-m"]
            printed = python(*line[1:], cwd=tmp_path)
        expected = re.sub(r"\d[\d.e-]*", "#", step.output)
        assert re.sub(r"\d[\d.e-]*", "#", printed.strip()) == expected
    assert service.stop() == 0
