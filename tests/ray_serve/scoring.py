"""Bulk scoring with Ray Data writes what ``python -m app score`` writes, although a node dies meanwhile."""

import subprocess
import sys
import time
from pathlib import Path

import ray

from tests.ray_serve.nodes import Nodes
from tests.support.forked import ROOT
from tests.support.service import own_environment, wait_until

ROWS = 200_000
BROKEN = 7
"""Rows of this place in the last 1,000 are not numbers."""
BEGUN = 20_000


def write_table(path: Path) -> Path:
    """Numbers that all differ, and one row that cannot be scored."""
    rows = [f"{number / 7}" for number in range(ROWS)]
    rows[-BROKEN] = "nothing"
    path.write_text("x\n" + "\n".join(rows) + "\n")
    return path


def scored(nodes: Nodes, models: Path, place: Path) -> str:
    """Compare the two outputs, of the same table."""
    table = write_table(place / "table.csv")
    alone, divided = place / "alone.csv", place / "divided.csv"
    began = time.monotonic()
    ended = subprocess.run(_command("app", "score", models, table, alone), cwd=ROOT, env=own_environment(), check=False)
    alone_s = time.monotonic() - began
    assert ended.returncode == 1  # a row failed
    began = time.monotonic()
    pool = ("--actors", "3", "--num-cpus", "0.5", "--address", ray.get_runtime_context().gcs_address)
    process = subprocess.Popen(
        [*_command("deploy.ray.score", "", models, table, divided), *pool],
        cwd=ROOT,
        env=own_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    partial = place / ".divided.csv.partial"
    wait_until(lambda: partial.exists() and partial.read_bytes().count(b"\n") > BEGUN, within_s=120)
    nodes.kill()
    done = partial.read_bytes().count(b"\n") - 1
    said, _ = process.communicate(timeout=300)
    divided_s = time.monotonic() - began
    assert process.returncode == 1, said
    assert f"wrote {divided}: {ROWS} rows, 1 failed" in said.splitlines()
    assert divided.read_bytes() == alone.read_bytes()
    return (
        f"{ROWS:,} rows by 3 actors, a node killed after {done:,}: the file of one process, byte by byte; "
        f"{divided_s:.0f} s, one process {alone_s:.0f} s"
    )


def _command(module: str, verb: str, models: Path, table: Path, output: Path) -> list[str]:
    command = [sys.executable, "-m", module, *([verb] if verb else []), "rule", str(table)]
    return [*command, "--output", str(output), "--models-dir", str(models)]
