"""Metrics of the machine's GPUs. Triton calls them ``nv_gpu_*``."""

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.runtime.gpu_usage import GpuUsage

GPU_LABELS = ["device", "gpu_uuid"]
_FAMILIES = {
    "utilization": ("atelier_gpu_utilization_ratio", "Share of the last moments in which a kernel ran on the GPU."),
    "memory_total_bytes": ("atelier_gpu_memory_total_bytes", "Memory of the GPU."),
    "memory_used_bytes": ("atelier_gpu_memory_used_bytes", "Memory of the GPU in use, by any process."),
    "power_w": ("atelier_gpu_power_watts", "Power that the GPU draws."),
}


class WithGpus(Collector):
    """Other metrics, and those of the GPUs that CUDA sees.

    They are the machine's, whoever reads them: of several worker processes the one that answers tells its own reading.

    Args:
        others: of the service.
        usage: of the GPUs; what is not known of one has no sample.
    """

    def __init__(self, others: Collector, usage: Sequence[GpuUsage]) -> None:
        self._others = others
        self._usage = [gpu for gpu in usage if gpu.is_visible]

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape; without a GPU the others' alone."""
        yield from self._others.collect()
        for attribute, (name, text) in _FAMILIES.items() if self._usage else ():
            family = GaugeMetricFamily(name, text, labels=GPU_LABELS)
            for gpu in self._usage:
                value = getattr(gpu, attribute)
                if value is not None:
                    family.add_metric([gpu.name, gpu.uuid], value)
            yield family
