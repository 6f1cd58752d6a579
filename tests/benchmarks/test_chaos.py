"""One scenario against a real service; the others take too long for every run of the tests."""

import re
from pathlib import Path

import pytest

from benchmarks.chaos.run import run_chaos
from benchmarks.chaos.scenarios.clock import no_faketime
from benchmarks.soak.run import newest_versions


@pytest.mark.skipif(bool(no_faketime()), reason="libfaketime is not installed")
def test_a_jump_of_the_wall_clock_has_no_effect():
    versions = [version for version in newest_versions(Path("models")) if version.parent.name == "fashion-mnist-cnn"]
    (found,) = run_chaos(versions, ["clock jumps"], told=print)
    # The time of health, and a refusal because too much waits, depend on the machine, which runs other tests too.
    of_the_machine = re.compile(r"health took .*|others were answered \{429: \d{1,2}\}")
    assert [fault for fault in found.faults if not of_the_machine.fullmatch(fault)] == []
    assert "5 jumps" in found.measured
