import dataclasses
import json
import multiprocessing
import signal
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from tests.support.forked_training import ForkedTraining
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


def test_the_command_after_one_whose_stage_was_killed_learns_the_same_bits_as_a_sequential_one(tmp_path, console):
    recipe = pair(in_parallel=True)

    def kill() -> None:
        while not (stages := multiprocessing.active_children()):
            time.sleep(0.01)
        stages[0].kill()

    killer = Thread(target=kill)
    killer.start()
    with pytest.raises(StageDied, match=r"stage first: its process ended with exit code -9.*--resume"):
        train(recipe, tmp_path / "at once", console)
    killer.join()

    after = train(pair(in_parallel=False), tmp_path / "after", console)
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


def test_a_parallel_stage_starts_with_the_weights_of_an_earlier_one(tmp_path, console):
    still = Optimizer(name="sgd", learning_rate=0.0)
    recipe = pair(in_parallel=True, epochs=1, adopt=adopt_by_name, optimizer=still)
    (parallel,) = recipe.stages
    earlier = dataclasses.replace(
        parallel, name="earlier", adopt=keep_apart, optimizer=Optimizer(learning_rate=0.01), in_parallel=False
    )
    train(dataclasses.replace(recipe, stages=(earlier, parallel)), tmp_path, console)
    for learnt, kept in zip(
        read_weights(tmp_path / "earlier" / "weights.npz"),
        read_weights(tmp_path / "first" / "weights.npz"),
        strict=True,
    ):
        np.testing.assert_array_equal(learnt, kept)


def test_an_error_of_a_stage_ends_the_run(tmp_path, console):
    wild = Optimizer(name="sgd", learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match="the loss became"):
        train(pair(in_parallel=True, optimizer=wild), tmp_path, console)
    assert multiprocessing.active_children() == []


EPOCHS = 60  # the second interruption, too, comes long before the last one
STARTED = f"""
import sys
from pathlib import Path
from rich.console import Console
from tests.training.fit.test_parallel_stages import pair
from tests.training.tiny import train
from training.environment import quiet_tensorflow
if __name__ == "__main__":
    quiet_tensorflow()
    train(pair(in_parallel=True, epochs={EPOCHS}), Path(sys.argv[1]), Console(width=200))
"""


def end(how: signal.Signals, script: Path, directory: Path) -> str:
    """Start the training, end it while both networks learn, and return what it has printed.

    None of its processes outlives it.
    """
    with ForkedTraining([script, directory], cwd=directory.parent) as process:
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("first: ") and all(state.exists() for state in states(directory)):
                break
        started = children(process.pid)
        assert started, printed
        process.send_signal(how)
        assert process.wait(30) is not None
        deadline = time.monotonic() + 30
        while any(is_running(child) for child in started):
            assert time.monotonic() < deadline, "a process outlives the command"
            time.sleep(0.02)
        return printed


def states(directory: Path) -> list[Path]:
    return [directory / "state.json", directory / "first" / "state.json"]


def assert_continued(printed: str, before: list[int]) -> None:
    for epoch, prefix in zip(before, ("", "first: "), strict=True):
        assert epoch == EPOCHS or f"{prefix}resuming after epoch {epoch} of {EPOCHS}" in printed


def test_both_trainings_end_with_the_command_and_continue_where_they_were(tmp_path, console):
    script, directory = tmp_path / "start.py", tmp_path / "run"
    script.write_text(STARTED)

    def epochs() -> list[int]:
        return [json.loads(state.read_text())["epoch"] for state in states(directory)]

    end(signal.SIGINT, script, directory)
    interrupted = epochs()
    assert_continued(end(signal.SIGKILL, script, directory), interrupted)
    killed = epochs()
    train(pair(in_parallel=True, epochs=EPOCHS), directory, console)
    assert_continued(console.file.getvalue(), killed)

    undisturbed = tmp_path / "undisturbed"
    train(pair(in_parallel=False, epochs=EPOCHS), undisturbed, console)
    for one, other in zip(weights(directory), weights(undisturbed), strict=True):
        np.testing.assert_array_equal(one, other)
