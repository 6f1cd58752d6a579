"""Resident memory of a service, from /proc."""

import re


def resident_mb(service, field="VmRSS"):
    with open(f"/proc/{service.process.pid}/status") as status:
        return int(re.search(rf"{field}:\s+(\d+) kB", status.read())[1]) / 1e3


def reset_peak(service):
    """Reset the peak of resident memory (VmHWM) to the present value."""
    with open(f"/proc/{service.process.pid}/clear_refs", "w") as refs:
        refs.write("5")
