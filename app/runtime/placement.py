"""The device that a model version runs on, and why it does not run on a better one."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from app.contract.device import AUTO, CPU, CUDA
from app.errors import VersionRefused
from app.runtime.devices import Device, why_no_gpu

log = logging.getLogger("atelier.devices")


@dataclass(frozen=True)
class Placement:
    """The device of an instance of a version.

    Attributes:
        device: "cpu" or "cuda:N".
        reason: one sentence: why this device, and why not a better one.
    """

    device: str
    reason: str


ON_CPU = Placement(CPU, "models run on the CPU here")


class Placer:
    """Assigns a device to each instance of a version; of several GPUs the one with the fewest instances.

    Args:
        probe: returns the devices of this machine; called once, at the first use.
    """

    def __init__(self, probe: Callable[[], Sequence[Device]]) -> None:
        self._probe = probe
        self._lock = Lock()
        self._devices: tuple[Device, ...] | None = None
        self._instances: Counter[str] = Counter()

    def devices(self) -> tuple[Device, ...]:
        """Every device found, the CPU first. The first call blocks, and logs the devices."""
        with self._lock:
            if self._devices is None:
                self._devices = tuple(self._probe())
                _announce(self._devices)
            return self._devices

    def place(self, requested: str) -> Placement:
        """Choose a device for a new instance of a version; call ``release`` when the instance is closed.

        Args:
            requested: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            VersionRefused: the requested GPU is not available; the message has the reason, and what to do.
        """
        if requested == CPU:
            return Placement(CPU, "device is 'cpu'")
        devices = self.devices()
        with self._lock:
            placement = choose(requested, devices, self._instances)
            if placement.device != CPU:
                self._instances[placement.device] += 1
            return placement

    def release(self, placement: Placement) -> None:
        """Count an instance as closed."""
        with self._lock:
            if placement.device != CPU:
                self._instances[placement.device] -= 1


def choose(requested: str, devices: Sequence[Device], instances: Counter[str]) -> Placement:
    """The device of an instance whose setting is ``requested``; CUDA before CPU.

    Args:
        requested: "auto", "cpu", "cuda" or "cuda:N".
        devices: of this machine.
        instances: number of instances on each device.

    Raises:
        VersionRefused: see ``Placer.place``.
    """
    if requested == CPU:
        return Placement(CPU, "device is 'cpu'")
    gpus = [device for device in devices if device.name != CPU]
    usable = [gpu for gpu in gpus if gpu.used and requested in {AUTO, CUDA, gpu.name}]
    if usable:
        best = min(usable, key=lambda gpu: instances[gpu.name])
        if requested == best.name:
            return Placement(best.name, f"device is {requested!r}")
        among = f"; of {len(usable)} GPUs it had the fewest instances" if len(usable) > 1 else ""
        return Placement(best.name, f"device is {requested!r}, and a GPU comes before the CPU{among}")
    if requested == AUTO:
        why = f"{gpus[0].name} cannot be used: {gpus[0].reason}" if gpus else "no GPU was found"
        return Placement(CPU, f"device is 'auto', and {why}")
    raise VersionRefused(why_no_gpu(requested, gpus))


def _announce(devices: Sequence[Device]) -> None:
    """One line on a machine without a GPU, else one for each device."""
    gpus = [device for device in devices if device.name != CPU]
    if not gpus:
        log.info("no GPU was found; models with device 'auto' run on the CPU")
    for gpu in gpus:
        if gpu.used:
            log.info("%s (%s) is used: %s", gpu.name, gpu.description, gpu.reason)
        else:  # worth a warning unless it was hidden on purpose
            level = logging.WARNING if gpu.name.startswith(CUDA) else logging.INFO
            log.log(level, "%s (%s) is not used: %s", gpu.name, gpu.description, gpu.reason)
