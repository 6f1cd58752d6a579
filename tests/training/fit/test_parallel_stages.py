import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from rich.console import Console

from tests.support.processes import children, is_running
from tests.training.tiny import image_recipe, train
from training.errors import StageDied, TrainingDiverged
from training.fit.fit import trained_model
from training.fit.run_files import read_weights
from training.network.finishing import mean_over_mirror
from training.recipe.fitting import Fitting, Optimizer
from training.recipe.recipe import Recipe, Stage, adopt_by_name

LAYERS = ("hidden", "probabilities")


def keep_apart(network, model, inherited):
    """Adopt no weights."""


def average(network, model, signature, inherited):
    first = image_recipe().build(network, signature)
    adopt_by_name(network, first, inherited)
    return mean_over_mirror([first, model], signature)


def pair(*, in_parallel: bool, epochs: int = 3, **changes: object) -> Recipe:
    """Two independent networks; the mean of both."""
    stage = Stage(
        name="first",
        build=image_recipe().build,
        shared_layers=LAYERS,
        adopt=keep_apart,
        fitting=Fitting(epochs=epochs, batch_size=16, seed=1, keep="last"),
        optimizer=Optimizer(name="adam", learning_rate=0.01, ema_momentum=0.9),
        in_parallel=in_parallel,
    )
    return image_recipe(
        epochs=epochs, stages=(dataclasses.replace(stage, **changes),), adopt=keep_apart, finish=average
    )


def weights(directory: Path) -> list[np.ndarray]:
    return read_weights(directory / "first" / "weights.npz") + read_weights(directory / "weights.npz")


def test_a_parallel_stage_learns_the_same_bits_as_a_sequential_one(tmp_path, console):
    after = train(pair(in_parallel=False), tmp_path / "after", console)
    recipe = pair(in_parallel=True)
    at_once = train(recipe, tmp_path / "at once", console)
    for one, other in zip(weights(tmp_path / "after"), weights(tmp_path / "at once"), strict=True):
        np.testing.assert_array_equal(one, other)
    pixels = recipe.data.load().validation.instances
    np.testing.assert_array_equal(after.model(pixels).numpy(), at_once.model(pixels).numpy())
    printed = console.file.getvalue()
    assert "stage first trains in parallel" in printed
    assert "first: epoch   3/3" in printed
    assert at_once.seconds >= at_once.progressed.seconds

    splits = recipe.data.load()
    feed = recipe.pipeline.bind(splits.train, classes=2)
    again = trained_model(recipe, feed, splits, directory=tmp_path / "at once")
    np.testing.assert_array_equal(again(pixels).numpy(), at_once.model(pixels).numpy())


def test_an_error_of_a_stage_ends_the_run(tmp_path, console):
    wild = Optimizer(name="sgd", learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match="the loss became"):
        train(pair(in_parallel=True, optimizer=wild), tmp_path, console)
    assert multiprocessing.active_children() == []


def test_a_stage_whose_process_is_killed_ends_the_run_with_a_sentence(tmp_path, console):
    def kill() -> None:
        while not (stages := multiprocessing.active_children()):
            time.sleep(0.01)
        stages[0].kill()

    killer = Thread(target=kill)
    killer.start()
    with pytest.raises(StageDied, match=r"stage first: its process ended with exit code -9.*--resume"):
        train(pair(in_parallel=True), tmp_path, console)
    killer.join()
    train(pair(in_parallel=True), tmp_path, console)
    assert (tmp_path / "first" / "weights.npz").is_file()


STARTED = """
import signal
import sys
from pathlib import Path
from rich.console import Console
from tests.training.fit.test_parallel_stages import pair
from tests.training.tiny import train
from training.environment import quiet_tensorflow
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    quiet_tensorflow()
    train(pair(in_parallel=True, epochs=40), Path(sys.argv[1]), Console())
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed")
    train(pair(in_parallel=False, epochs=40), directory, Console(quiet=True))
    return weights(directory)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_both_trainings_end_with_the_command_and_continue_where_they_were(how, undisturbed, tmp_path, console):
    root = Path(__file__).parents[3]
    script = tmp_path / "start.py"
    script.write_text(STARTED)
    directory = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, script, directory],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    states = [directory / "state.json", directory / "first" / "state.json"]
    deadline = time.monotonic() + 90
    while not all(state.exists() for state in states):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started = children(process.pid)
    assert started
    process.send_signal(how)
    process.wait(30)
    deadline = time.monotonic() + 30
    while any(is_running(child) for child in started):
        assert time.monotonic() < deadline, "a process outlives the command"
        time.sleep(0.02)
    before = [json.loads(state.read_text())["epoch"] for state in states]

    train(pair(in_parallel=True, epochs=40), directory, console)
    printed = console.file.getvalue()
    for epoch, prefix in zip(before, ("", "first: "), strict=True):
        assert epoch == 40 or f"{prefix}resuming after epoch {epoch} of 40" in printed
    for one, other in zip(weights(directory), undisturbed, strict=True):
        np.testing.assert_array_equal(one, other)
