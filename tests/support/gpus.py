"""Environments in which a process finds GPUs that are not there, or finds none, whatever the machine has."""

from tests.support.service import ROOT

_NVML = str(ROOT / "tests/support/nvml")
WITH_GPUS = {"PYTHONPATH": _NVML}
WITHOUT_GPUS = {"PYTHONPATH": _NVML, "FAKE_NVML_MISSING": "1"}
