"""A version goes to the GPU only after it has passed there, and goes back to the CPU with a reason."""

import asyncio
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.batching.work import RequestOptions
from app.control.describe import describe_devices
from app.control.model_config import model_config
from app.errors import BackendFailed, ModelNotReady, VersionRefused
from app.lifecycle.loading.device_choice import DeviceChooser
from app.lifecycle.loading.loader import Loader
from app.lifecycle.readiness import not_ready_reason
from app.lifecycle.registry import Registry
from app.repository.places import Places
from app.runtime.backend import Backend
from app.runtime.devices import Device
from app.runtime.engines.onnx import OnnxBackend
from app.runtime.placement import Placer
from app.runtime.router import RoutedBackend
from app.serving.predictor import predict
from app.telemetry.metrics import Metrics
from tests.support.fakes import Observed
from tests.support.tiny_models import write_brightness_model, write_words_model

CPU = Device("cpu", "CPU threads", used=True, reason="always available")
GPU = Device("cuda:0", "a GPU", used=True, reason="works")
BROKEN = Device("cuda:0", "a GPU", used=False, reason="libcudnn.so.9 missing")


class PretendClock:
    """Seconds that pass only when a backend says that it took them: no other process disturbs a measurement."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


class PretendGpu(Backend):
    """The CPU provider under CUDA's name, which takes a number of seconds."""

    provider = "CUDAExecutionProvider"

    def __init__(self, backend, *, takes=lambda: None, error=0.0):
        self.backend, self.takes, self.error, self.closed, self.fault = backend, takes, error, False, None

    def run(self, inputs):
        if self.fault is not None:
            raise BackendFailed(self.fault)
        self.takes()
        return {name: values + np.float32(self.error) for name, values in self.backend.run(inputs).items()}

    def close(self):
        self.closed = True
        self.backend.close()


class CountingPlacer(Placer):
    """Knows how many instances each device has."""

    def __init__(self, probe):
        super().__init__(probe)
        self.instances = Counter()

    def place(self, requested):
        placement = super().place(requested)
        self.instances[placement.device] += 1
        return placement

    def release(self, placement):
        super().release(placement)
        self.instances[placement.device] -= 1


class Machine:
    """A loader on a machine with pretended devices."""

    def __init__(
        self,
        models: Path,
        devices,
        *,
        default="auto",
        cpu=OnnxBackend,
        refuses=None,
        clock=time.perf_counter,
        **gpu,
    ):
        self.opened, self.placer = [], CountingPlacer(lambda: devices)

        def open_gpu(request, device):
            if refuses is not None:
                raise refuses
            self.opened.append((PretendGpu(OnnxBackend(request.graph, request.spec, 1), **gpu), device, request))
            return self.opened[-1][0]

        self.loader = Loader(
            places=Places(models),
            make_backend=cpu,
            threads=1,
            observer_for=lambda *_: Observed(),
            inline_below_s=1.0,
            pixel_limit=100,
            clock=clock,
            device_chooser=DeviceChooser(placer=self.placer, default_device=default, open_gpu=open_gpu, clock=clock),
        )

    def load(self, name="words"):
        return self.loader.load(name, 1)

    @property
    def on_gpu(self):
        return self.placer.instances["cuda:0"]


@pytest.fixture
def models(tmp_path):
    write_words_model(tmp_path)
    write_brightness_model(tmp_path)
    return tmp_path


def policy(models, text, name="words"):
    (models / name / "serving.json").write_text(text)


def test_without_a_gpu_the_cpu_backend_is_not_wrapped(models):
    model = Machine(models, [CPU]).load()
    assert type(model.batcher.backend) is OnnxBackend
    assert model.instances.all[0].placement.device == "cpu"
    assert model.instances.all[0].placement.reason == "device is 'auto', and no GPU was found"
    assert model.batcher.rules.inline_below_s == 1.0
    model.batcher.close()


def test_auto_uses_both_devices_where_the_gpu_is_faster_and_gives_its_place_back(models):
    clock = PretendClock()

    class SlowCpu(OnnxBackend):
        def run(self, inputs):
            clock.advance(0.002)
            return super().run(inputs)

    machine = Machine(models, [CPU, GPU], cpu=SlowCpu, clock=clock)
    model = machine.load()
    assert isinstance(model.batcher.backend, RoutedBackend)
    assert (model.instances.all[0].placement.device, model.provider) == ("cuda:0", "CUDAExecutionProvider")
    assert model.instances.all[0].placement.reason == "device is 'auto', and a GPU comes before the CPU"
    assert model.batcher.rules.inline_below_s == 0.0, "a GPU is never waited for on the event loop"
    assert machine.on_gpu == 1
    model.batcher.close()
    assert machine.opened[0][0].closed
    assert machine.on_gpu == 0


def test_auto_does_not_use_a_gpu_that_is_slower_at_every_size(models):
    clock = PretendClock()
    machine = Machine(models, [CPU, GPU], clock=clock, takes=lambda: clock.advance(0.002))
    model = machine.load()
    assert type(model.batcher.backend) is OnnxBackend
    assert model.instances.all[0].placement.reason == (
        "device is 'auto', and the CPU was measured to be faster than cuda:0 at every batch size"
    )
    assert (machine.opened[0][0].closed, machine.on_gpu) == (True, 0)
    model.batcher.close()


@pytest.mark.parametrize(
    ("gpu", "why"),
    [
        ({"error": 0.01}, "cuda:0 was tried: golden row 6: output 'probabilities' differs from Keras by 0.01"),
        ({"refuses": VersionRefused("no kernel")}, "cuda:0 was tried: no kernel"),
        (
            {"refuses": BackendFailed("CUDA failure 2: out of memory")},
            "cuda:0 was tried: CUDA failure 2: out of memory",
        ),
    ],
)
def test_auto_runs_a_version_on_the_cpu_if_it_does_not_pass_on_the_gpu(models, caplog, gpu, why):
    machine = Machine(models, [CPU, GPU], **gpu)
    model = machine.load()
    assert type(model.batcher.backend) is OnnxBackend
    assert model.instances.all[0].placement.reason.startswith(f"device is 'auto', and {why}")
    assert f"model words runs on the CPU; {why}"[:40] in caplog.text
    assert machine.on_gpu == 0
    model.batcher.close()


@pytest.mark.parametrize("gpu", [{"error": 0.01}, {"refuses": VersionRefused("no kernel")}])
def test_a_requested_gpu_must_pass_verification(models, gpu):
    policy(models, '{"device": "cuda"}')
    machine = Machine(models, [CPU, GPU], **gpu)
    with pytest.raises(VersionRefused):
        machine.load()
    assert machine.on_gpu == 0


def test_serving_json_takes_precedence_over_the_default(models):
    policy(models, '{"device": "cpu"}')
    machine = Machine(models, [CPU, GPU], default="cuda")
    on_cpu, on_gpu = machine.load(), machine.load("brightness")
    assert (on_cpu.instances.all[0].placement.device, on_gpu.instances.all[0].placement.device) == ("cpu", "cuda:0")
    assert "cpu" in on_cpu.load_settings
    for model in (on_cpu, on_gpu):
        model.batcher.close()


def test_the_memory_limit_and_the_largest_batch_reach_the_gpu(models):
    policy(models, '{"device": "cuda:0", "gpu_mem_limit_mb": 256, "batching": {"max_batch_size": 6}}')
    machine = Machine(models, [CPU, GPU])
    model = machine.load()
    _, device, request = machine.opened[0]
    assert (device, request.gpu_mem_limit_mb, request.max_batch_size) == ("cuda:0", 256, 6)
    model.batcher.close()


@pytest.mark.parametrize(
    ("devices", "expected", "error"),
    [
        ([CPU], "cuda:1", "device is 'cuda:1', which requires a GPU, but no NVIDIA driver reports one;"),
        ([CPU, BROKEN], "cuda", "device is 'cuda', but cuda:0 cannot be used: libcudnn.so.9 missing;"),
    ],
)
def test_a_version_for_a_missing_gpu_is_refused(models, devices, expected, error):
    policy(models, f'{{"device": "{expected}"}}')
    with pytest.raises(VersionRefused) as refusal:
        Machine(models, devices).load()
    assert refusal.value.message.startswith(error)


def test_a_savedmodel_is_refused_where_serving_json_requires_a_gpu(models):
    policy(models, '{"backend": "savedmodel", "device": "cuda"}')
    with pytest.raises(VersionRefused, match="device is 'cuda', and backend 'savedmodel' runs on the CPU only"):
        Machine(models, [CPU, GPU]).load()


def test_a_gpu_that_dies_later_is_replaced_by_a_verified_cpu(models):
    policy(models, '{"device": "cuda"}')
    machine = Machine(models, [CPU, GPU])
    model = machine.load()
    ids = np.array([[2, 4, 4], [3, 3, 4]], np.int32)
    before = model.batcher.backend.run({"token_ids": ids})
    machine.opened[0][0].fault = "ONNX Runtime: CUDA failure 700: an illegal memory access was encountered ; GPU=0"
    after = model.batcher.backend.run({"token_ids": ids})
    assert before["probabilities"].tobytes() == after["probabilities"].tobytes()
    assert model.instances.degraded.endswith("the CPU takes over")
    registry = Registry(scan=dict, on_state=lambda *_: None)
    registry.enter("words", 1).model = model
    [shown] = describe_devices(registry, [CPU, GPU])["models"]
    assert shown == {
        "name": "words",
        "version": "1",
        "device": "cuda:0",
        "provider": "CUDAExecutionProvider",
        "reason": "device is 'cuda', and a GPU comes before the CPU",
        "degraded": "ONNX Runtime: CUDA failure 700: an illegal memory access was encountered; the CPU takes over",
        "faults": 2,
        "hangs": 0,
        "instances": [
            {
                "device": "cuda:0",
                "reason": "device is 'cuda', and a GPU comes before the CPU",
                "degraded": "ONNX Runtime: CUDA failure 700: an illegal memory access was encountered; "
                "the CPU takes over",
                "faults": 2,
                "hangs": 0,
            }
        ],
    }
    metrics = Metrics()
    metrics.loaded = registry.loaded
    samples = {s.name: (s.labels.get("device"), s.value) for family in metrics.collect() for s in family.samples}
    assert samples["atelier_model_device"] == ("cuda:0", 1)
    assert samples["atelier_model_degraded"] == (None, 1)
    assert model_config(model)["instance_group"] == [{"name": "words", "count": 1, "kind": "KIND_GPU", "gpus": [0]}]
    model.batcher.close()


def test_faults_and_hangs_stay_counted_when_the_version_is_loaded_again(models):
    policy(models, '{"device": "cuda"}')
    machine, metrics = Machine(models, [CPU, GPU]), Metrics()
    loader = replace(machine.loader, observer_for=metrics.for_version)
    ids = {"token_ids": np.array([[2, 4, 4], [3, 3, 4]], np.int32)}

    async def ask(model):
        await predict(model, ids, RequestOptions(timeout_s=60), clock=time.perf_counter)

    for loads in (1, 2):
        model = loader.load("words", 1)
        machine.opened[-1][0].fault = "CUDA failure 700: an illegal memory access was encountered"
        asyncio.run(ask(model))
        metrics.for_version("words", 1).batch_hung()
        assert model.instances.faults == 2
        model.batcher.close()
        samples = {sample.name: sample.value for family in metrics.collect() for sample in family.samples}
        assert samples["atelier_device_faults_total"] == 2 * loads
        assert samples["atelier_hung_batches_total"] == loads


def test_a_version_that_is_refused_after_it_was_opened_frees_its_place(models):
    policy(models, '{"device": "cuda", "batching": {"length_buckets": [4]}}', "brightness")
    machine = Machine(models, [CPU, GPU])
    with pytest.raises(VersionRefused, match="takes no texts"):
        machine.load("brightness")
    assert machine.on_gpu == 0


SECOND = Device("cuda:1", "another GPU", used=True, reason="works")


def test_instances_are_spread_over_the_gpus_and_each_is_verified(models):
    policy(models, '{"device": "cuda", "instances": 3}')
    machine = Machine(models, [CPU, GPU, SECOND])
    model = machine.load()
    assert [device for _, device, _ in machine.opened] == ["cuda:0", "cuda:1", "cuda:0"]
    assert model.batcher.rules.inline_below_s == 0.0
    assert model.admission.instances == 3
    assert (machine.on_gpu, machine.placer.instances["cuda:1"]) == (2, 1)
    assert model_config(model)["instance_group"] == [
        {"name": "words_0", "count": 2, "kind": "KIND_GPU", "gpus": [0]},
        {"name": "words_1", "count": 1, "kind": "KIND_GPU", "gpus": [1]},
    ]
    machine.opened[1][0].fault = "CUDA failure 700: an illegal memory access was encountered"
    ids = np.array([[2, 4, 4]], np.int32)
    for instance in model.instances.all:
        instance.backend.run({"token_ids": ids})
    registry = Registry(scan=dict, on_state=lambda *_: None)
    registry.enter("words", 1).model = model
    [shown] = describe_devices(registry, [CPU, GPU, SECOND])["models"]
    assert shown["device"] == "cuda:0, cuda:1"
    assert shown["degraded"] == (
        "cuda:1: CUDA failure 700: an illegal memory access was encountered; the CPU takes over"
    )
    assert [(each["device"], bool(each["degraded"]), each["faults"]) for each in shown["instances"]] == [
        ("cuda:0", False, 0),
        ("cuda:1", True, 2),
        ("cuda:0", False, 0),
    ]
    metrics = Metrics()
    metrics.loaded = registry.loaded
    samples = [sample for family in metrics.collect() for sample in family.samples]
    assert [s.labels["device"] for s in samples if s.name == "atelier_model_device"] == ["cuda:0", "cuda:1"]
    model.batcher.close()
    assert (machine.on_gpu, machine.placer.instances["cuda:1"]) == (0, 0)


def test_two_instances_on_two_gpus_are_one_group(models):
    policy(models, '{"device": "cuda", "instances": 2}')
    model = Machine(models, [CPU, GPU, SECOND]).load()
    assert model_config(model)["instance_group"] == [{"name": "words", "count": 1, "kind": "KIND_GPU", "gpus": [0, 1]}]
    model.batcher.close()


def test_a_named_gpu_gets_all_instances(models):
    policy(models, '{"device": "cuda:1", "instances": 2}')
    machine = Machine(models, [CPU, GPU, SECOND])
    model = machine.load()
    assert [device for _, device, _ in machine.opened] == ["cuda:1", "cuda:1"]
    model.batcher.close()


def test_instances_on_the_cpu_have_one_thread_each_and_do_not_run_on_the_event_loop(models):
    policy(models, '{"instances": 2}')
    threads = []

    def cpu(path, spec, count):
        threads.append(count)
        return OnnxBackend(path, spec, count)

    model = Machine(models, [CPU], cpu=cpu).load()
    assert threads == [1, 1]
    assert model.batcher.rules.inline_below_s == 0.0
    assert model_config(model)["instance_group"] == [{"name": "words", "count": 2, "kind": "KIND_CPU"}]
    model.batcher.close()


def test_one_instance_that_does_not_open_refuses_the_version_and_the_others_are_closed(models):
    policy(models, '{"device": "cuda", "instances": 3}')
    machine = Machine(models, [CPU, GPU, SECOND])
    opens, made = machine.loader.device_chooser.open_gpu, []

    def second_fails(request, device):
        if len(made) == 2:
            raise BackendFailed("CUDA failure 2: out of memory")
        made.append(opens(request, device))
        return made[-1]

    object.__setattr__(machine.loader.device_chooser, "open_gpu", second_fails)
    with pytest.raises(BackendFailed, match="out of memory"):
        machine.load()
    assert [gpu.closed for gpu in made] == [True, True]
    assert (machine.on_gpu, machine.placer.instances["cuda:1"]) == (0, 0)


def test_a_version_whose_backend_hangs_is_not_ready(models):
    policy(models, '{"batching": {"max_execution_ms": 20}}')
    model = Machine(models, [CPU]).load()
    assert model.batcher.rules.max_execution_s == 0.02
    registry = Registry(scan=dict, on_state=lambda *_: None)
    registry.enter("words", 1).model = model
    registry.set_default("words", model)
    registry.loading = False
    registry.check_ready("words")
    [instance] = model.instances.all
    model.instances.exclude(instance, model.admission)
    assert not_ready_reason(registry) == "the backends of all models hang; see the log"
    with pytest.raises(ModelNotReady, match="every backend of the version hangs"):
        registry.check_ready("words")
    with pytest.raises(ModelNotReady):
        model.admission.check_open()
    metrics = Metrics()
    metrics.loaded = registry.loaded
    samples = {sample.name: sample.value for family in metrics.collect() for sample in family.samples}
    assert samples["atelier_model_degraded"] == 1
    model.instances.include(instance, model.admission)
    assert not_ready_reason(registry) is None
    model.batcher.close()


def test_instances_of_a_savedmodel_are_processes_that_share_the_threads(models):
    policy(models, '{"backend": "savedmodel", "instances": 2}')
    machine, threads = Machine(models, [CPU]), []

    def savedmodel(path, spec, count, **_):
        threads.append(count)
        return OnnxBackend(path.with_name("model.onnx"), spec, 1)

    model = replace(machine.loader, make_savedmodel=savedmodel, threads=5).load("words", 1)
    assert threads == [2, 2]
    assert len(model.instances.all) == 2
    model.batcher.close()
