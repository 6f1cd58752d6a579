"""``--strategy``: several devices, and several processes, give the curve of one."""

import csv
import json
import socket
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from tests.support.forked_training import ForkedTraining
from tests.training.tiny import build_images, image_recipe
from training.errors import SettingRefused
from training.fit.distribution import Distribution, read_cluster, refuse_together
from training.recipe.fitting import Fitting, Optimizer
from training.recipe.recipe import Stage

RECIPE = """
from tests.training.tiny import *
RECIPE = image_recipe(epochs=3, target=0.1, optimizer=Optimizer(name="sgd", learning_rate=0.003))
"""
TWO_DEVICES = """
import sys
from training.environment import quiet_tensorflow
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from training.cli import main
main()
"""


def curve(directory):
    """Figures of each epoch; the two sums of a gradient differ by rounding, 1e-7 of it a step, over 24 steps."""
    with (directory / "history.csv").open(newline="") as file:
        return [
            {name: pytest.approx(float(value), rel=1e-4, abs=1e-6) for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def as_numbers(directory):
    with (directory / "history.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


@pytest.fixture
def alone(command, tmp_path):
    """The curve of one process."""
    (tmp_path / "tiny_images.py").write_text(RECIPE)
    ended = command("run", "tiny_images.py", "--run-id", "alone")
    assert ended.code == 0, ended.err
    return curve(tmp_path / "runs/tiny-images/alone")


def started(tmp_path, start, *arguments, **environment):
    return ForkedTraining([*start, "run", "tiny_images.py", *arguments], cwd=tmp_path, variables=environment)


def test_two_devices_give_the_curve_of_one(alone, tmp_path):
    script = tmp_path / "two_devices.py"
    script.write_text(TWO_DEVICES)
    with started(tmp_path, [script], "--strategy", "mirrored", "--run-id", "two", "--publish") as process:
        out = process.stdout.read()
        assert process.wait(120) == 0, out
    assert as_numbers(tmp_path / "runs/tiny-images/two") == alone
    assert "published: models/tiny-images/1" in out


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_two_workers_give_the_curve_of_one_process_and_only_the_chief_writes_files(alone, tmp_path):
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    with ExitStack() as running:
        processes = [
            running.enter_context(
                started(
                    tmp_path,
                    ["-m", "training"],
                    *("--strategy", "multi-worker", "--run-id", f"worker-{index}"),
                    TF_CONFIG=json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}),
                    TMPDIR=str(tmp_path),
                )
            )
            for index in (0, 1)
        ]
        said = [process.stdout.read() for process in processes]
        assert [process.wait(30) for process in processes] == [0, 0], said
    assert as_numbers(tmp_path / "runs/tiny-images/worker-0") == alone
    assert not (tmp_path / "runs/tiny-images/worker-1").exists()
    assert not list(tmp_path.glob("atelier-worker-*"))
    assert "worker 1 trains; worker 0 writes all files" in said[1]
    assert "report: runs/tiny-images/worker-0/report.html" in said[0]


WORKERS = '"cluster": {"worker": ["a:1", "b:2"]}'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "requires TF_CONFIG in the environment"),
        ("{", "TF_CONFIG is not JSON"),
        ("[]", '"cluster" must have "worker" and nothing else'),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}}', '"cluster" must have "worker" and nothing else'),
        ('{"cluster": {"worker": "a:1"}}', '"worker" must be a list of HOST:PORT, not "a:1"'),
        ('{"cluster": {"worker": ["a"]}}', 'must be a list of HOST:PORT, not ["a"]'),
        ('{"cluster": {"worker": ["a:0"]}}', "must be a list of HOST:PORT"),
        ('{"cluster": {"worker": []}}', "must be a list of HOST:PORT"),
        (f"{{{WORKERS}}}", '"task" must have "type": "worker" and "index"'),
        (f'{{{WORKERS}, "task": {{"type": "chief", "index": 0}}}}', '"task" must have "type": "worker"'),
        (f'{{{WORKERS}, "task": {{"type": "worker", "index": 2}}}}', '"index" must be a number from 0 to 1'),
        (f'{{{WORKERS}, "task": {{"type": "worker", "index": "0"}}}}', 'one for each worker, not "0"'),
    ],
)
def test_a_malformed_tf_config_is_refused_in_one_sentence(text, sentence, write_recipe, command, monkeypatch):
    write_recipe("tiny_images.py", RECIPE)
    monkeypatch.setenv("TF_CONFIG", text)
    ended = command("run", "tiny-images", "--strategy", "multi-worker")
    assert ended.code == 2
    assert sentence in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_a_task_of_two_workers_is_read():
    assert read_cluster(f'{{{WORKERS}, "task": {{"type": "worker", "index": 1}}}}') == (1, 2)


STAGE = Stage(name="first", build=build_images, shared_layers=(), fitting=Fitting(epochs=1, batch_size=16))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stages": (STAGE,)}, "tiny-images trains in stages, which --strategy does not distribute"),
        ({"optimizer": Optimizer(ema_momentum=0.9)}, "--strategy does not average weights"),
        ({"fitting": Fitting(epochs=1, batch_size=15)}, "batch_size 15 cannot be divided by 2 replicas"),
        ({"fitting": Fitting(epochs=1, batch_size=16, descent="batch")}, "fitting.descent is batch"),
        (
            {"fitting": Fitting(epochs=1, batch_size=16, mixed_precision="mixed_float16")},
            "--strategy trains in float32",
        ),
    ],
)
def test_what_cannot_be_distributed_is_refused(changes, sentence):
    two = Distribution(strategy=SimpleNamespace(num_replicas_in_sync=2))
    with pytest.raises(SettingRefused, match=sentence):
        refuse_together(image_recipe(**changes), two)
    refuse_together(image_recipe(**changes), Distribution())  # one device


def test_several_workers_do_not_resume(write_recipe, command):
    write_recipe("tiny_images.py", RECIPE)
    ended = command("run", "tiny-images", "--strategy", "multi-worker", "--resume")
    assert ended.code == 2
    assert "--strategy multi-worker does not resume" in ended.err
