"""The command line in its own process; data sets are synthetic."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from app.contract.manifest import verify_manifest
from app.contract.version_files import VersionFiles
from tests.support.commands import run
from tests.support.forked_training import ForkedTraining
from tests.support.training_command import run_training

ROOT = Path(__file__).parents[2]
SMALL = ("--dataset", "synthetic", "--set", "data.synthetic_count=256", "--epochs", "1")


def training(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with one run of the MLP, published."""
    folder = tmp_path_factory.mktemp("published")
    done = training("run", "fashion-mnist-mlp", *SMALL, "--publish", "--run-id", "first", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_list_names_the_recipes_with_targets_and_published_versions(published):
    folder, _ = published
    done = training("list", cwd=folder)
    assert done.returncode == 0
    assert "imdb-sentiment-lstm" in done.stdout
    assert "0.900" in done.stdout
    assert "version 1" in done.stdout


def test_help_explains_every_option(tmp_path):
    done = training("run", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("--set", "--dataset", "--publish", "--resume", "--force", "test set is used once"):
        assert word in done.stdout


def test_a_published_run_prints_all_paths_and_no_output_of_tensorflow(published):
    folder, done = published
    assert "test accuracy" in done.stdout
    assert "published: models/fashion-mnist-mlp/1" in done.stdout
    assert "report: runs/fashion-mnist-mlp/first/report.html" in done.stdout
    assert done.stderr == ""
    metrics = json.loads((folder / "models/fashion-mnist-mlp/1/metrics.json").read_text())
    assert metrics["dataset"]["form"] == "synthetic"
    assert metrics["overrides"] == ["data.synthetic_count=256", "fitting.epochs=1"]
    assert metrics["command"].startswith("python -m training run fashion-mnist-mlp --dataset synthetic")
    spec = json.loads((folder / "models/fashion-mnist-mlp/1/model.json").read_text())
    assert spec["trained_on"] == "synthetic"


def test_reproduce_compares_with_the_published_accuracy_and_does_not_change_models(published):
    folder, _ = published
    before = sorted((folder / "models").rglob("*"))
    done = run_training("reproduce", cwd=folder)
    assert done.code == 0, done.out + done.err
    assert "+0.0000" in done.out  # same seed, same machine
    assert sorted((folder / "models").rglob("*")) == before


def test_reproduce_fails_when_the_accuracy_is_another(published, tmp_path):
    folder, _ = published
    version = tmp_path / "models/fashion-mnist-mlp/1"
    version.mkdir(parents=True)
    metrics = json.loads((folder / "models/fashion-mnist-mlp/1/metrics.json").read_text())
    metrics["test"]["accuracy"] += 0.006
    (version / "metrics.json").write_text(json.dumps(metrics))
    done = run_training("reproduce", "fashion-mnist-mlp", cwd=tmp_path)
    assert done.code == 1
    assert "-0.0060" in done.out


def test_evaluate_measures_a_run_again(published):
    folder, done = published
    again = run_training("evaluate", "runs/fashion-mnist-mlp/first", cwd=folder)
    assert again.code == 0
    printed = next(line for line in done.stdout.splitlines() if line.startswith("validation accuracy"))
    accuracy, rows = printed.split(" on ")
    assert any(line.startswith(f"{accuracy}, log loss ") and line.endswith(rows) for line in again.out.splitlines())
    assert "Ankle boot" in again.out


def test_ctrl_c_shows_how_to_continue_and_resume_does(tmp_path):
    small = ("--set", "data.synthetic_count=512", "--set", "network.widths=16")
    command = ("run", "fashion-mnist-mlp", "--dataset", "synthetic", *small)
    with ForkedTraining(["-m", "training", *command, "--epochs", "30", "--run-id", "x"], cwd=tmp_path) as process:
        for line in process.stdout:
            if line.startswith("epoch   2/30"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        assert process.wait() == 130
    assert "interrupted; the same command with --resume continues after the last checkpoint" in rest
    other = run_training("run", "fashion-mnist-mlp", "--resume", "--epochs", "3", cwd=tmp_path)
    assert other.code == 2
    assert "--resume takes no other settings" in other.err
    done = run_training("run", "fashion-mnist-mlp", "--resume", "--publish", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "resuming after epoch" in done.out
    assert "epoch  30/30" in done.out
    assert "epoch   1/30" not in done.out
    assert "published: models/fashion-mnist-mlp/1" in done.out
    metrics = json.loads((tmp_path / "models/fashion-mnist-mlp/1/metrics.json").read_text())
    assert metrics["command"].endswith("--run-id x && python -m training run fashion-mnist-mlp --resume --publish")
    nothing = run_training("run", "fashion-mnist-mlp", "--resume", cwd=tmp_path)
    assert nothing.code == 2
    assert "is left to resume" in nothing.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("run", "mlp"), "there is no recipe 'mlp'; there are: activations, "),
        (
            ("run", "fashion-mnist-mlp", "--set", "epochs=2"),
            "'epochs' is not a setting; did you mean --set fitting.epochs=2?",
        ),
        (("run", "fashion-mnist-mlp", "--set", "fitting.epochs=x"), "fitting.epochs=x: expected a whole number"),
        (("run", "fashion-mnist-mlp", "--resume"), "start one without --resume"),
        (("evaluate", "runs/nowhere"), "is not a run"),
        (("reproduce",), "no recipe has a published version under models"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(arguments, sentence, tmp_path):
    done = run_training(*arguments, cwd=tmp_path)
    assert done.code == 2
    assert sentence in done.err
    assert len(done.err.strip().splitlines()) == 1


SYNTHETIC = """
from dataclasses import replace
from tests.training.tiny import TinyData, bright_images, image_recipe
class Data(TinyData):
    def synthetic(self):
        return replace(self.load(), name="synthetic", form="synthetic")
RECIPE = image_recipe(epochs=1, target=0.1, data=Data(draw=bright_images))
"""


def test_synthetic_data_do_not_take_the_place_of_a_version_of_real_data_but_by_force(write_recipe, command, tmp_path):
    write_recipe("tiny_images.py", SYNTHETIC)
    models, synthetic = tmp_path / "models" / "tiny-images", ("run", "tiny-images", "--dataset", "synthetic")
    assert command("run", "tiny-images", "--publish").code == 0
    refused = command(*synthetic, "--publish")
    assert refused.code == 2
    assert refused.err.startswith("error: models/tiny-images/1 was trained on real data and would no longer be the ")
    assert "--force, or choose another directory with --models-dir" in refused.err
    assert command(*synthetic, "--run-id", "later").code == 0  # trained, not published
    resumed = command("run", "tiny-images", "--resume", "--run-id", "later", "--publish")
    assert resumed.code == 2
    assert "was trained on real data" in resumed.err
    assert not (models / "2").exists()
    forced = command("run", "tiny-images", "--resume", "--run-id", "later", "--publish", "--force")
    assert forced.code == 0
    assert json.loads((models / "2" / "metrics.json").read_text())["dataset"]["form"] == "synthetic"
    assert command(*synthetic, "--publish", "--run-id", "more").code == 0  # over synthetic data it may


def test_a_target_without_a_validation_part_does_not_use_the_test_set(write_recipe, command, tmp_path):
    none = "data=Given(train=bright_images(64, 1), validation=bright_images(0, 2), test=bright_images(16, 3), labels=L)"
    write_recipe(
        "tiny_images.py",
        f"from tests.training.tiny import *\nL = ('dark', 'bright')\nRECIPE = image_recipe(epochs=1, {none})\n",
    )
    ended = command("run", "tiny-images", "--publish")
    assert ended.code == 1
    assert "no validation part shows whether 0.9050 is reached, the target and half a point" in ended.out
    assert "the test set was not used" in ended.out
    forced = command("run", "tiny-images", "--resume", "--publish", "--force")
    assert forced.code == 0
    assert "tested anyway, by --force" in (tmp_path / "models/tiny-images/1/card.md").read_text()


def test_without_tensorflow_one_sentence_names_the_command_to_run(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['tensorflow'] = None; sys.argv = ['training', 'run', 'fashion-mnist-mlp', "
        f"'--dataset', 'synthetic', '--runs', {str(tmp_path)!r}]; from training.cli import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.strip() == "error: tensorflow is not installed; run: make train-install"


def test_a_finished_run_is_published_as_tensorflow_lite_too_and_the_service_reads_none_of_it(
    write_recipe, command, tmp_path
):
    write_recipe("tiny_images.py", "from tests.training.tiny import *\nRECIPE = image_recipe(epochs=1, target=0.1)\n")
    assert command("run", "tiny-images").code == 0
    published = command("run", "tiny-images", "--resume", "--publish", "--formats", "tflite")
    assert published.code == 0, published.err
    version = tmp_path / "models/tiny-images/1"
    verify_manifest(version)
    size = (version / "model.tflite").stat().st_size
    assert json.loads((version / "manifest.json").read_text())["files"]["model.tflite"]["size"] == size
    export = json.loads((version / "metrics.json").read_text())["export"]
    assert export["tflite_bytes"] == size
    assert list(export["parity"]["tflite"]) == ["1", "2", "7", "32"]
    assert max(export["parity"]["tflite"].values()) <= export["parity"]["tolerance"]
    card = (version / "card.md").read_text()
    assert f"| model.tflite | {size:,} bytes, float32; largest difference from Keras " in card
    assert "python -m training run tiny-images --set formats=tflite --publish" in card
    assert VersionFiles(version, place=tmp_path).graph_bytes == (version / "model.onnx").stat().st_size
    Image.new("L", (8, 8), 250).save(tmp_path / "bright.png")
    served = run("predict", "tiny-images", tmp_path / "bright.png", "--models-dir", tmp_path / "models")
    assert served.returncode == 0, served.stdout + served.stderr


def test_a_network_without_a_tensorflow_lite_form_is_refused_before_it_is_trained(write_recipe, command, tmp_path):
    write_recipe("tiny_texts.py", "from tests.training.tiny import *\nRECIPE = text_recipe()\n")
    refused = command("run", "tiny-texts", "--publish", "--formats", "tflite")
    assert refused.code == 2
    assert refused.err.startswith("error: tiny-texts: tflite is a format of image models; this model takes 'token_ids'")
    assert not list(tmp_path.glob("runs/*/*/checkpoint"))
    assert not (tmp_path / "models").exists()
