"""Commands of the command line, each in a separate process."""

import subprocess
import sys

from tests.support.service import ROOT, own_environment

QUICK = ("--seconds", "0.05", "--concurrency", "4")
# Milliseconds: a limit that no setting meets, and one that every setting meets.
NEVER, ALWAYS = "1e-9", "1e9"


def command(*arguments, models):
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments, "--models-dir", str(models)],
        cwd=ROOT,
        env=own_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def run(*arguments, package="app", **environment):
    return subprocess.run(
        [sys.executable, "-m", package, *map(str, arguments)],
        cwd=ROOT,
        env={**own_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
