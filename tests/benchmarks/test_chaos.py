"""One scenario against a real service; the others take too long for every run of the tests."""

from pathlib import Path

import pytest

from benchmarks.chaos.run import run_chaos
from benchmarks.chaos.scenarios.clock import no_faketime
from benchmarks.soak.run import newest_versions


@pytest.mark.skipif(bool(no_faketime()), reason="libfaketime is not installed")
def test_a_jump_of_the_wall_clock_has_no_effect():
    versions = [version for version in newest_versions(Path("models")) if version.parent.name == "fashion-mnist-cnn"]
    (found,) = run_chaos(versions, ["clock jumps"], told=print)
    # The time of health also depends on the machine, which runs other tests at the same time.
    assert [fault for fault in found.faults if not fault.startswith("health took")] == []
    assert "5 jumps" in found.measured
