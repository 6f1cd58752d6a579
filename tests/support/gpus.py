"""Environments in which a process finds fake GPUs, or no GPU, independently of the machine."""

from tests.support.service import ROOT

_NVML = str(ROOT / "tests/support/nvml")
WITH_GPUS = {"PYTHONPATH": _NVML}
WITHOUT_GPUS = {"PYTHONPATH": _NVML, "FAKE_NVML_MISSING": "1"}
