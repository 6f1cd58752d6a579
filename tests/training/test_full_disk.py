"""Runs and versions on a file system that is full: a small separate one, in a user namespace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounts import needs_mount

ROOT = Path(__file__).parents[2]
RUN = "run fashion-mnist-mlp --dataset synthetic --set data.synthetic_count=256 --set network.widths=16 --epochs 3"


pytestmark = needs_mount


# One process for all commands: each that trains imports TensorFlow, and traces its graphs again.
SCRIPT = f"""
import subprocess, sys
from pathlib import Path
from tests.support.training_command import run_training
from training.environment import quiet_tensorflow
quiet_tensorflow()
def shell(script):
    subprocess.run(script, shell=True, check=True, stdout=sys.stdout.fileno())
def training(command):
    ended = run_training(*command.split(), cwd=Path.cwd())
    print(ended.out, f"exit code {{ended.code}}", sep="", flush=True)
    print(ended.err, end="", file=sys.stderr, flush=True)

shell("mkdir runs; mount -t tmpfs -o size=300k tmpfs runs")
training("{RUN} --run-id x")
shell("find runs -name '.*'; echo more space; mount -o remount,size=20m runs")
training("{RUN} --run-id x --resume")
shell("cat runs/fashion-mnist-mlp/x/history.csv")

for stream in (sys.stdout, sys.stderr):
    print("PUBLISHING", file=stream, flush=True)
shell("mkdir models; mount -t tmpfs -o size=100k tmpfs models; mkdir -p models/fashion-mnist-mlp/1")
Path("models/fashion-mnist-mlp/1/metrics.json").write_text('{{"dataset": {{"form": "synthetic"}}}}')
training("{RUN} --publish --run-id y")
shell("find models -type f -o -name '.*'; echo; ls runs/fashion-mnist-mlp/y/report.html; echo more space")
shell("mount -o remount,size=20m models")
training("{RUN} --publish --run-id y --resume")
shell("ls models/fashion-mnist-mlp")
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the commands print, on both streams: (training, publishing)."""
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, "-c", SCRIPT],
        cwd=tmp_path_factory.mktemp("disk"),
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return list(zip(done.stdout.split("PUBLISHING\n"), done.stderr.split("PUBLISHING\n"), strict=True))


def test_a_full_disk_ends_a_run_with_a_sentence_and_with_more_space_it_continues(printed):
    out, err = printed[0]
    [error] = err.splitlines()
    assert error.startswith("error: no space is left for ")
    advice = "is unchanged since its last checkpoint: free some space, and continue with --resume"
    assert error.endswith(f"; runs/fashion-mnist-mlp/x {advice}")
    before, after = out.split("more space\n")
    assert "epoch   1/3" in before
    assert before.endswith("exit code 2\n")
    assert "resuming after epoch 1 of 3" in after
    assert "report: runs/fashion-mnist-mlp/x/report.html" in after
    assert "exit code 0" in after
    assert [line.split(",")[0] for line in after.splitlines()[-3:]] == ["1", "2", "3"]


def test_a_full_disk_while_publishing_leaves_only_the_earlier_versions(printed):
    out, err = printed[1]
    [error] = err.splitlines()
    assert error.startswith("error: no space is left for ")
    assert error.endswith("; nothing was published: free some space for models, and add --resume")
    before, after = out.split("more space\n")
    assert before.endswith(
        "exit code 2\nmodels/fashion-mnist-mlp/1/metrics.json\n\nruns/fashion-mnist-mlp/y/report.html\n"
    )
    assert "epoch   1/3" not in after  # trained already
    assert "published: models/fashion-mnist-mlp/2\nexit code 0\n" in after
    assert after.split()[-3:] == ["1", "2", "config.pbtxt"]
