"""GPU metrics of a service, with a library that replaces the driver's; models run on the CPU."""

from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.commands import run
from tests.support.gpus import WITH_GPUS
from tests.support.nvml.pynvml import GIB
from tests.support.service import Service
from tests.support.tiny_models import write_brightness_model

SWAPPED = {**WITH_GPUS, "CUDA_VISIBLE_DEVICES": "1,0"}


@contextmanager
def serving(models, *arguments, **environment):
    write_brightness_model(models)
    service = Service(models, *arguments, environment={**SWAPPED, **environment})
    try:
        yield service
    finally:
        assert service.stop() == 0


def gpu_samples(service):
    families = text_string_to_metric_families(service.client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("atelier_gpu_")]
    return {(each.name, each.labels["device"], each.labels["gpu_uuid"]): each.value for each in samples}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_gpu_metrics_are_those_of_the_machine_with_any_number_of_workers(tmp_path, workers):
    with serving(tmp_path, "--workers", workers) as service:
        for _ in range(3):
            assert gpu_samples(service) == {
                ("atelier_gpu_memory_total_bytes", "cuda:0", "GPU-bbbb2222"): 8 * GIB,
                ("atelier_gpu_memory_total_bytes", "cuda:1", "GPU-aaaa1111"): 8 * GIB,
                ("atelier_gpu_memory_used_bytes", "cuda:0", "GPU-bbbb2222"): 2 * GIB,
                ("atelier_gpu_memory_used_bytes", "cuda:1", "GPU-aaaa1111"): GIB,
                ("atelier_gpu_power_watts", "cuda:1", "GPU-aaaa1111"): 70.5,
                ("atelier_gpu_utilization_ratio", "cuda:1", "GPU-aaaa1111"): 0.4,
            }


def test_devices_show_the_memory_of_each_gpu(tmp_path):
    with serving(tmp_path) as service:
        cpu, *gpus = service.client.get("/v2/devices").json()["devices"]
    assert "memory_used_bytes" not in cpu
    assert [(gpu["name"], gpu["memory_used_bytes"], gpu["memory_total_bytes"]) for gpu in gpus] == [
        ("cuda:0", 2 * GIB, 8 * GIB),
        ("cuda:1", GIB, 8 * GIB),
    ]


def test_a_gpu_without_values_breaks_neither_metrics_nor_devices(tmp_path):
    with serving(tmp_path, FAKE_NVML_LOST="1") as service:
        reply = service.client.get("/metrics")
        assert reply.status_code == 200
        assert "atelier_gpu_memory_used_bytes{" not in reply.text
        assert 'atelier_model_state{model="brightness",state="READY",version="1"} 1.0' in reply.text
        assert service.client.get("/v2/devices").status_code == 200


def test_without_a_gpu_there_are_no_gpu_metrics(tmp_path):
    with serving(tmp_path, CUDA_VISIBLE_DEVICES="") as service:
        assert "atelier_gpu_" not in service.client.get("/metrics").text


def test_the_command_shows_the_memory_too():
    printed = run("devices", **SWAPPED).stdout
    [line] = [line for line in printed.splitlines() if "cuda:1" in line and "Stand-in, 8 GiB" in line]
    assert "1.0 of 8.0 GiB in use" in line
