"""Calls that are answered together get the same replies, byte by byte, as each of them gets by itself."""

import subprocess
import sys
from pathlib import Path

from tests.support.service import ROOT

CHECK = Path(__file__).with_name("joint_check.py")


def test_calls_that_are_answered_together():
    command = [sys.executable, "-m", "pytest", "-n", "0", "--color=no", str(CHECK)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
