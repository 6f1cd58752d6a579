"""Which device a model version runs on, and why not a better one."""

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
    """Where an instance of a version runs.

    Attributes:
        device: "cpu" or "cuda:N".
        reason: one sentence: why there, and why not on a better device.
    """

    device: str
    reason: str


ON_CPU = Placement(CPU, "models run on the CPU here")


class Placer:
    """Gives each instance of a version a device; of several GPUs the one with the fewest of our instances.

    Args:
        probe: the devices of this machine; called once, when they are asked for first.
    """

    def __init__(self, probe: Callable[[], Sequence[Device]]) -> None:
        self._probe = probe
        self._lock = Lock()
        self._devices: tuple[Device, ...] | None = None
        self._instances: Counter[str] = Counter()

    def devices(self) -> tuple[Device, ...]:
        """Every device seen, the CPU first. The first call blocks, and says in the log what it found."""
        with self._lock:
            if self._devices is None:
                self._devices = tuple(self._probe())
                _announce(self._devices)
            return self._devices

    def place(self, wanted: str) -> Placement:
        """A device for one more instance of a version; ``release`` it when that is closed.

        Args:
            wanted: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            VersionRefused: a GPU is asked for and cannot be had; says why, and what to do.
        """
        if wanted == CPU:
            return Placement(CPU, "device is 'cpu'")
        devices = self.devices()
        with self._lock:
            placement = choose(wanted, devices, self._instances)
            if placement.device != CPU:
                self._instances[placement.device] += 1
            return placement

    def instances_on(self, device: str) -> int:
        """How many of our instances a GPU has."""
        return self._instances[device]

    def release(self, placement: Placement) -> None:
        """An instance no longer runs there."""
        with self._lock:
            if placement.device != CPU:
                self._instances[placement.device] -= 1


def choose(wanted: str, devices: Sequence[Device], instances: Counter[str]) -> Placement:
    """Where an instance of a version runs that wants ``wanted``, CUDA before CPU.

    Args:
        wanted: "auto", "cpu", "cuda" or "cuda:N".
        devices: of this machine.
        instances: how many of ours each of them has.

    Raises:
        VersionRefused: see ``Placer.place``.
    """
    if wanted == CPU:
        return Placement(CPU, "device is 'cpu'")
    gpus = [device for device in devices if device.name != CPU]
    usable = [gpu for gpu in gpus if gpu.used and wanted in {AUTO, CUDA, gpu.name}]
    if usable:
        best = min(usable, key=lambda gpu: instances[gpu.name])
        if wanted == best.name:
            return Placement(best.name, f"device is {wanted!r}")
        among = f"; of {len(usable)} GPUs it had the fewest instances" if len(usable) > 1 else ""
        return Placement(best.name, f"device is {wanted!r}, and a GPU comes before the CPU{among}")
    if wanted == AUTO:
        why = f"{gpus[0].name} cannot be used: {gpus[0].reason}" if gpus else "no GPU was found"
        return Placement(CPU, f"device is 'auto', and {why}")
    raise VersionRefused(why_no_gpu(wanted, gpus))


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
