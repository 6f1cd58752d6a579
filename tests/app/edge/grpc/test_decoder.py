"""The decoder of gRPC messages raises only ServingError, and what it returns matches the signature."""

import subprocess
import sys
from pathlib import Path

from tests.support.service import ROOT

CHECK = Path(__file__).with_name("decoder_check.py")


def test_messages_are_refused_or_obey_the_signature():
    command = [sys.executable, "-m", "pytest", "-n", "0", "--color=no", str(CHECK)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
