"""The benchmark of a GPU, as far as it runs without one: its sentence, its table and its exit codes."""

import os
import re
import subprocess
import sys

import pytest

from benchmarks import machine
from tests.support.service import ROOT, own_environment
from tests.support.tiny_models import flip_one_weight, write_brightness_model, write_words_model


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "gpu", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**own_environment(), "CUDA_VISIBLE_DEVICES": "", **environment},
    )


def on_cpu(models):
    return run(
        *(
            "--device",
            "cpu",
            "--models-dir",
            str(models),
            "--max-batch-size",
            "4",
            "--seconds",
            "0.01",
            "--repeats",
            "2",
        )
    )


def test_without_a_gpu_it_ends_with_one_sentence():
    result = run()
    assert result.returncode == 2
    [sentence] = result.stderr.splitlines()
    assert re.fullmatch(
        r"error: device is 'cuda', "
        r"(which requires a GPU, but no NVIDIA driver reports one|but gpu 0 cannot be used: .+); "
        r"(.+ )?set device to 'auto' or 'cpu', in serving.json or with --device",
        sentence,
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--device", "gpu"), "error: device is 'gpu'; it must be 'auto', 'cpu', 'cuda' or 'cuda:N'"),
        (("--device", "cpu", "--models-dir", os.devnull), f"error: no published model in {os.devnull}"),
    ],
)
def test_a_measurement_that_is_not_possible_gives_one_sentence(arguments, error):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith(error)


def test_on_the_cpu_it_prints_the_same_tables_and_writes_no_result(tmp_path):
    write_words_model(tmp_path)
    write_brightness_model(tmp_path)
    result = on_cpu(tmp_path)
    assert result.returncode == 0, result.stderr
    cells = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in result.stdout.splitlines() if "│" in line
    ]
    answers, latency, rates = cells[:2], cells[2:6], cells[6:]
    assert [(row[0], row[-1]) for row in answers] == [("brightness 1", "yes"), ("words 1", "yes")]
    assert [row[:2] for row in latency] == [["brightness 1", "cpu"], ["", "cpu"], ["words 1", "cpu"], ["", "cpu"]]
    assert all(float(value) > 0 for row in latency for value in row[2:])
    assert len(latency[0]) == 2 + 3  # 1, 2 and 4 rows
    assert all(float(value) > 0 for row in rates for value in row[1:])
    assert "written" not in result.stdout


def test_a_model_that_cannot_be_measured_does_not_stop_the_others(tmp_path):
    write_words_model(tmp_path)
    (write_brightness_model(tmp_path) / "model.onnx").write_bytes(b"no graph")
    result = on_cpu(tmp_path)
    assert result.returncode == 1
    assert re.search(r"^error: brightness 1: .*model.onnx: ONNX Runtime cannot load the graph", result.stderr, re.M)
    assert "error: words" not in result.stderr
    assert "words 1" in result.stdout


def test_it_needs_few_packages():
    code = """
import sys
from importlib.metadata import packages_distributions
import app.runtime.placement, benchmarks.cli, benchmarks.gpu
known = packages_distributions()
print(*{name for module in list(sys.modules) for name in known.get(module.split(".")[0], [])})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    # Those that docs/explanation/performance.md names, with what they bring along.
    assert {"numpy", "nvidia-ml-py", "pydantic", "typer"} <= set(done.stdout.split())
    assert not {"fastapi", "starlette", "uvicorn", "orjson", "pysimdjson", "pillow", "prometheus-client"} & set(
        done.stdout.split()
    )


def test_a_machine_is_described_with_any_packages_installed(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package"))
    assert set(machine.describe()["packages"]) == {"numpy"}


def test_an_answer_that_differs_from_keras_is_reported_and_the_exit_code_is_1(tmp_path):
    write_words_model(tmp_path)
    flip_one_weight(write_brightness_model(tmp_path), "weights")
    result = on_cpu(tmp_path)
    assert result.returncode == 1
    assert re.search(r"^error: brightness 1: batches of 1: golden row \d+: output 'probabilities'", result.stderr, re.M)
    assert "error: words" not in result.stderr
