"""The devices of a machine, their names, and which of them a version gets."""

import ctypes
import logging
from collections import Counter

import numpy as np
import pytest

from app.errors import DeviceFault, VersionRefused
from app.runtime import devices as module
from app.runtime.cuda import PinnedMemory, find_missing, needed_libraries, provider_options
from app.runtime.devices import Device, Gpu, describe_gpus, visible_order
from app.runtime.placement import Placement, Placer, choose

CPU = Device("cpu", "2 of 2 CPU threads", used=True, reason="always available")
INSTEAD = "set device to 'auto' or 'cpu', in serving.json or with --device"
GPUS = [Gpu("GPU-aaaa1111", "A, 8 GiB"), Gpu("GPU-bbbb2222", "B, 16 GiB"), Gpu("GPU-cccc3333", "C, 24 GiB")]


def gpu(number, *, hindrance=""):
    return Device(f"cuda:{number}", "a GPU", used=not hindrance, reason=hindrance or "works")


@pytest.mark.parametrize(
    ("visible", "order"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        (" 1 , 2", [1, 2]),
        ("0,7,1", [0]),
        ("-1", []),
        ("1,1", [1]),
        ("GPU-bbbb", [1]),
        ("GPU-", []),  # fits all three
        ("MIG-GPU-aaaa1111/1/0", []),
    ],
)
def test_cuda_sees_the_devices_of_the_variable_up_to_the_first_wrong_entry(visible, order):
    assert visible_order(GPUS, visible) == order


def test_gpus_have_the_names_of_cuda_and_hidden_ones_have_a_reason():
    found = describe_gpus(GPUS, "2,0", "")
    assert [(device.name, device.description, device.used) for device in found] == [
        ("cuda:0", "C, 24 GiB", True),
        ("cuda:1", "A, 8 GiB", True),
        ("gpu 1", "B, 16 GiB", False),
    ]
    assert found[2].reason == "CUDA_VISIBLE_DEVICES is '2,0' and hides it"


def test_a_missing_library_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(module, "cuda_version", lambda: "13.0")
    monkeypatch.setattr(module, "missing_libraries", lambda: ("libcublasLt.so.13", "libcudnn.so.9"))
    monkeypatch.setattr(module, "_gpus", lambda: GPUS[:1])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    [_, found] = module.probe_devices()
    assert not found.used
    assert found.reason == (
        "the CUDA libraries are incomplete, libcublasLt.so.13 and libcudnn.so.9 missing: "
        "`make serve GPU=1` installs them"
    )


def test_a_driver_without_its_library_is_not_fixed_by_installing(monkeypatch):
    monkeypatch.setattr(module, "cuda_version", lambda: "13.0")
    monkeypatch.setattr(module, "missing_libraries", lambda: ("libcuda.so.1", "libcudnn.so.9"))
    assert module.why_no_cuda().startswith("the driver's libcuda.so.1 is missing; in a container,")


def test_an_onnx_runtime_without_cuda_is_reported(monkeypatch):
    monkeypatch.setattr(module, "cuda_version", lambda: "")
    assert module.why_no_cuda() == "the installed ONNX Runtime was built without CUDA"


def test_without_a_gpu_no_library_is_looked_for(monkeypatch):
    def fail():
        raise AssertionError("seconds of loading for nothing")

    monkeypatch.setattr(module, "missing_libraries", fail)
    monkeypatch.setattr(module, "_gpus", list)
    assert [device.name for device in module.probe_devices()] == ["cpu"]


def test_libraries_that_do_not_load_are_missing():
    def load(name):
        if "cudnn" in name:
            raise OSError("cannot open shared object file")

    assert find_missing(needed_libraries("13.0"), load) == ("libcudnn.so.9",)


def test_the_options_of_a_session():
    assert provider_options("cuda:1", 512) == {
        "device_id": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
        "gpu_mem_limit": "536870912",
    }
    assert "gpu_mem_limit" not in provider_options("cuda:0", None)


def test_versions_go_to_the_gpu_with_the_fewest_of_ours():
    placer = Placer(lambda: [CPU, gpu(0), gpu(1), gpu(2, hindrance="broken")])
    placed = [placer.place("auto") for _ in range(4)]
    assert [each.device for each in placed] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert placed[0].reason == (
        "device is 'auto', and a GPU comes before the CPU; of 2 GPUs it had the fewest instances"
    )
    placer.release(placed[1])
    placer.release(placed[3])
    assert [placer.place("cuda").device for _ in range(2)] == ["cuda:1", "cuda:1"]
    assert placer.place("cuda:1") == Placement("cuda:1", "device is 'cuda:1'")
    assert placer.place("auto").device == "cuda:0"


def test_device_cpu_gets_the_cpu_and_no_device_is_probed():
    placer = Placer(lambda: pytest.fail("probed"))
    assert placer.place("cpu") == Placement("cpu", "device is 'cpu'")


@pytest.mark.parametrize(
    ("devices", "reason"),
    [
        ([CPU], "device is 'auto', and no GPU was found"),
        ([CPU, gpu(0, hindrance="no cuDNN")], "device is 'auto', and cuda:0 cannot be used: no cuDNN"),
    ],
)
def test_auto_falls_back_to_the_cpu_and_gives_the_reason(devices, reason):
    assert choose("auto", devices, Counter()) == Placement("cpu", reason)


def test_a_gpu_that_is_hidden_on_purpose_loads_nothing_and_causes_no_warning(monkeypatch, caplog):
    monkeypatch.setattr(module, "missing_libraries", lambda: pytest.fail("seconds of loading for nothing"))
    monkeypatch.setattr(module, "_gpus", lambda: GPUS[:1])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with caplog.at_level(logging.INFO, "atelier.devices"):
        placement = Placer(module.probe_devices).place("auto")
    why = "CUDA_VISIBLE_DEVICES is '' and hides it"
    assert placement == Placement("cpu", f"device is 'auto', and gpu 0 cannot be used: {why}")
    assert [(r.levelname, r.message) for r in caplog.records] == [("INFO", f"gpu 0 (A, 8 GiB) is not used: {why}")]


@pytest.mark.parametrize(
    ("requested", "devices", "error"),
    [
        ("cuda", [CPU], f"device is 'cuda', which requires a GPU, but no NVIDIA driver reports one; {INSTEAD}"),
        ("cuda:0", [CPU], f"device is 'cuda:0', which requires a GPU, but no NVIDIA driver reports one; {INSTEAD}"),
        (
            "cuda:2",
            [CPU, gpu(0), gpu(1)],
            f"device is 'cuda:2', but CUDA only sees cuda:0, cuda:1; choose one of them, or {INSTEAD}",
        ),
        (
            "cuda:0",
            [CPU, gpu(0, hindrance="no cuDNN"), gpu(1)],
            f"device is 'cuda:0', but cuda:0 cannot be used: no cuDNN; fix that, or {INSTEAD}",
        ),
        (
            "cuda",
            [CPU, gpu(0, hindrance="no cuDNN"), gpu(1, hindrance="no cuDNN")],
            f"device is 'cuda', but cuda:0 cannot be used: no cuDNN; fix that, or {INSTEAD}",
        ),
        (
            "cuda:0",
            [CPU, Device("gpu 0", "a GPU", used=False, reason="CUDA_VISIBLE_DEVICES is '' and hides it")],
            "device is 'cuda:0', but gpu 0 cannot be used: CUDA_VISIBLE_DEVICES is '' and hides it; "
            f"fix that, or {INSTEAD}",
        ),
    ],
)
def test_a_requested_gpu_that_is_not_available_is_refused_with_a_reason(requested, devices, error):
    with pytest.raises(VersionRefused) as refusal:
        choose(requested, devices, Counter())
    assert refusal.value.message == error


def test_the_log_has_one_line_without_a_gpu_and_one_for_each_with_some(caplog):
    caplog.set_level(logging.INFO, "atelier.devices")
    for _ in range(2):
        placer = Placer(lambda: [CPU])
        placer.devices()
        placer.devices()
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("INFO", "no GPU was found; models with device 'auto' run on the CPU")
    ] * 2
    caplog.clear()
    Placer(lambda: [CPU, gpu(0), gpu(1, hindrance="libcudnn.so.9 missing")]).devices()
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("INFO", "cuda:0 (a GPU) is used: works"),
        ("WARNING", "cuda:1 (a GPU) is not used: libcudnn.so.9 missing"),
    ]


class FakeRuntime:
    """The four functions of the CUDA runtime library that we call, on ordinary memory."""

    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.blocks: dict[int, ctypes.Array] = {}
        self.device: int | None = None

    def cudaSetDevice(self, device):  # noqa: N802 - the library's names
        self.device = device.value
        return 0

    def cudaHostAlloc(self, pointer, size, flags):  # noqa: N802
        if self.fails:
            return self.fails
        assert flags.value == 1
        block = (ctypes.c_ubyte * size.value)()
        self.blocks[ctypes.addressof(block)] = block
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.addressof(block)
        return 0

    def cudaFreeHost(self, pointer):  # noqa: N802
        del self.blocks[pointer.value]
        return 0


def test_page_locked_memory_is_of_its_device_and_given_back():
    runtime = FakeRuntime()
    memory = PinnedMemory("cuda:3", runtime)
    first, second = memory.allocate(16), memory.allocate(8)
    first[:], second[:] = np.arange(16), 7
    assert (runtime.device, len(runtime.blocks)) == (3, 2)
    assert sorted(bytes(block)[-1] for block in runtime.blocks.values()) == [7, 15]
    del first, second
    memory.close()
    memory.close()
    assert runtime.blocks == {}


def test_a_driver_that_gives_no_page_locked_memory_is_a_fault_of_the_device():
    with pytest.raises(DeviceFault, match="cudaHostAlloc failed with CUDA error 2"):
        PinnedMemory("cuda:0", FakeRuntime(fails=2)).allocate(1)
