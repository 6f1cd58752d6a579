"""Runs and versions on a file system that is full: a small separate one, in a user namespace."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.mounts import needs_mount

ROOT = Path(__file__).parents[2]
RUN = "run fashion-mnist-mlp --dataset synthetic --set data.synthetic_count=256 --set network.widths=16 --epochs 3"


pytestmark = needs_mount


def shell(script, cwd):
    """Run a shell script that may mount; ``training`` is the command."""
    define = f'set -u; training() {{ "{sys.executable}" -m training "$@"; echo "exit code $?"; }}\n'
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", define + script],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def test_a_full_disk_ends_a_run_with_a_sentence_and_with_more_space_it_continues(tmp_path):
    done = shell(
        f"""
        mkdir runs
        mount -t tmpfs -o size=300k tmpfs runs
        training {RUN} --run-id x
        find runs -name '.*'
        echo more space
        mount -o remount,size=20m runs
        training {RUN} --run-id x --resume
        cat runs/fashion-mnist-mlp/x/history.csv
        """,
        tmp_path,
    )
    [error] = done.stderr.splitlines()
    assert error.startswith("error: no space is left for ")
    advice = "is unchanged since its last checkpoint: free some space, and continue with --resume"
    assert error.endswith(f"; runs/fashion-mnist-mlp/x {advice}")
    before, after = done.stdout.split("more space\n")
    assert "epoch   1/3" in before
    assert before.endswith("exit code 2\n")
    assert "resuming after epoch 1 of 3" in after
    assert "report: runs/fashion-mnist-mlp/x/report.html" in after
    assert "exit code 0" in after
    assert [line.split(",")[0] for line in after.splitlines()[-3:]] == ["1", "2", "3"]


def test_a_full_disk_while_publishing_leaves_only_the_earlier_versions(tmp_path):
    done = shell(
        f"""
        mkdir models
        mount -t tmpfs -o size=100k tmpfs models
        mkdir -p models/fashion-mnist-mlp/1
        echo '{{"dataset": {{"form": "synthetic"}}}}' > models/fashion-mnist-mlp/1/metrics.json
        training {RUN} --publish --run-id x
        find models -type f -o -name '.*'
        echo more space
        mount -o remount,size=20m models
        training {RUN} --publish --run-id x --resume
        ls models/fashion-mnist-mlp
        """,
        tmp_path,
    )
    [error] = done.stderr.splitlines()
    assert error.startswith("error: no space is left for ")
    assert error.endswith("; nothing was published: free some space for models, and add --resume")
    before, after = done.stdout.split("more space\n")
    assert before.endswith("exit code 2\nmodels/fashion-mnist-mlp/1/metrics.json\n")
    assert "epoch   1/3" not in after  # trained already
    assert "published: models/fashion-mnist-mlp/2\nexit code 0\n" in after
    assert after.split()[-3:] == ["1", "2", "config.pbtxt"]
