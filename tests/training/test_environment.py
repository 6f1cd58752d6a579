import os
import subprocess
import sys

import pytest

from tests.support.forked_training import ForkedTraining
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


TRAIN_A_CONVOLUTION = """
import os, sys
os.sched_setaffinity(0, [sorted(os.sched_getaffinity(0))[i] for i in range(int(sys.argv[1]))])
from training.environment import quiet_tensorflow
quiet_tensorflow()
import hashlib, numpy as np, tf_keras
from tf_keras import layers
tf_keras.utils.set_random_seed(1)
network = tf_keras.Sequential([
    layers.Input((32, 32, 3)), layers.Conv2D(16, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(),
    layers.Conv2D(32, 3), layers.GlobalAveragePooling2D(), layers.Dense(2),
])
network.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
random = np.random.default_rng(1)
images = random.normal(size=(256, 32, 32, 3)).astype(np.float32)
network.fit(images, random.integers(0, 2, 256), batch_size=64, epochs=2, shuffle=False, verbose=0)
print(hashlib.sha256(b"".join(weights.tobytes() for weights in network.get_weights())).hexdigest())
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core only")
def test_a_convolution_trains_to_the_same_bits_on_one_core_and_on_two(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAIN_A_CONVOLUTION)

    def trained(cores: int, **variables: str) -> str:
        with ForkedTraining([script, cores], cwd=tmp_path, variables=variables) as process:
            return process.stdout.read()

    hashes = {cores: trained(cores) for cores in (1, 2)}
    assert len(hashes[1]) == 65
    assert hashes[1] == hashes[2]
    other = trained(2, TF_NUM_INTRAOP_THREADS="1")
    assert len(other) == 65
    assert other != hashes[2]  # so the number of threads is what decides
