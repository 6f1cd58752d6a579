import os
import subprocess
import sys

from training import environment


def test_the_hardware_names_the_cpu_and_the_cores_this_process_may_use():
    hardware = environment.hardware()
    assert hardware["cpu"]
    assert 1 <= hardware["cpu_count"] <= os.cpu_count()


def test_the_packages_that_shape_the_result_are_named_with_their_versions():
    packages = environment.packages()
    assert {"python", "tensorflow", "tf_keras", "tf2onnx", "onnx", "onnxruntime", "numpy", "pillow"} <= packages.keys()
    assert packages["tf_keras"].startswith("2.")


def test_the_command_reads_as_it_was_typed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x/__main__.py", "run", "mlp", "--set", "a.b=1, 2"])
    assert environment.command() == "python -m training run mlp --set 'a.b=1, 2'"


def test_an_error_after_the_quiet_start_is_still_heard():
    code = (
        "import sys; from training.environment import quiet_tensorflow; quiet_tensorflow(); "
        "import tensorflow as tf; assert not tf.config.list_physical_devices('GPU'); print('heard', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "heard\n"
