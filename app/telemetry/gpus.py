"""Metrics of the machine's GPUs; the counterparts of Triton's ``nv_gpu_*``."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.runtime.gpu_usage import GpuUsage
from app.telemetry.compat import TRITON_GPU, Compat

GPU_LABELS = ["device", "gpu_uuid"]
_FAMILIES = {
    "utilization": ("atelier_gpu_utilization_ratio", "Share of the last moments in which a kernel ran on the GPU."),
    "memory_total_bytes": ("atelier_gpu_memory_total_bytes", "Memory of the GPU."),
    "memory_used_bytes": ("atelier_gpu_memory_used_bytes", "Memory of the GPU in use, by any process."),
    "power_w": ("atelier_gpu_power_watts", "Power that the GPU draws."),
}


class WithGpus(Collector):
    """Adds the metrics of the GPUs that CUDA sees to other metrics.

    They describe the machine, not the process: with several workers, the worker that answers reports its own reading.

    Args:
        others: metrics of the service.
        usage: reads the GPUs; an unknown value has no sample.
        compat: other servers whose names of these metrics are added.
    """

    def __init__(self, others: Collector, usage: Sequence[GpuUsage], compat: Sequence[Compat] = ()) -> None:
        self._others = others
        self._compat = compat
        self._usage = [gpu for gpu in usage if gpu.is_visible]

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape; without a GPU only the other metrics."""
        yield from self._others.collect()
        for attribute, (name, text) in _FAMILIES.items() if self._usage else ():
            family = GaugeMetricFamily(name, text, labels=GPU_LABELS)
            same = GaugeMetricFamily(TRITON_GPU[attribute], f"As in Triton: `{name}`.", labels=["gpu_uuid"])
            for gpu in self._usage:
                value = getattr(gpu, attribute)
                if value is not None:
                    family.add_metric([gpu.name, gpu.uuid], value)
                    same.add_metric([gpu.uuid], value)
            yield from (family, same) if "triton" in self._compat else (family,)
