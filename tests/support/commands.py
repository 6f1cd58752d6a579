"""Commands of the command line, each in a separate process."""

import subprocess
import sys

from tests.support.forked import ROOT, can_fork, run_forked
from tests.support.service import own_environment

QUICK = ("--seconds", "0.05", "--concurrency", "4")
# Milliseconds: a limit that no setting meets, and one that every setting meets.
NEVER, ALWAYS = "1e-9", "1e9"


def command(*arguments, models):
    done = run_forked([*arguments, "--models-dir", str(models)], env=own_environment(), timeout=60)
    return done.returncode, (done.stdout + done.stderr).strip()


def run(*arguments, package="app", **environment):
    if package == "app" and can_fork(environment):
        return run_forked(arguments, env={**own_environment(), **environment}, timeout=60)
    return subprocess.run(
        [sys.executable, "-m", package, *map(str, arguments)],
        cwd=ROOT,
        env={**own_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
