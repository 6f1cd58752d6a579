"""``--strategy ray``: what is refused before Ray starts; `make ray-train` starts it."""

import sys

import pytest

RECIPE = "from tests.training.tiny import *\nRECIPE = image_recipe(epochs=1{})\n"
STAGES = (
    ', stages=(Stage(name="first", build=build_images, shared_layers=(), fitting=Fitting(epochs=1, batch_size=16)),)'
)
RAY = ("--strategy", "ray")


@pytest.fixture
def refused(write_recipe, command, monkeypatch, tmp_path):
    """Runs a command that is refused, and returns its sentence; there is no Ray."""
    monkeypatch.setitem(sys.modules, "ray", None)

    def run(*arguments, recipe=""):
        write_recipe("tiny_images.py", "from training.recipe.recipe import Stage\n" + RECIPE.format(recipe))
        ended = command("run", "tiny-images", *arguments)
        assert ended.code == 2
        assert not (tmp_path / "runs").exists()
        [sentence] = ended.err.strip().splitlines()
        return sentence.removeprefix("error: ")

    return run


def test_without_ray_one_sentence_says_what_to_install(refused):
    assert refused(*RAY, "--workers", "2") == (
        "--strategy ray requires the package ray[train]; install it on each machine: pip install 'atelier-serving[ray]'"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--workers", "2"), "--workers goes with --strategy ray only, not with --strategy none"),
        (
            ("--strategy", "multi-worker", "--ray-address", "auto"),
            "--ray-address goes with --strategy ray only, not with --strategy multi-worker",
        ),
        (RAY, "--strategy ray requires --workers N, at least 1"),
        ((*RAY, "--workers", "0"), "--strategy ray requires --workers N, at least 1, not 0"),
        (
            (*RAY, "--workers", "2", "--resume"),
            "--strategy ray does not resume: the checkpoints are files of worker 0 alone",
        ),
        (
            (*RAY, "--workers", "2", "--mlflow", "env"),
            "--mlflow has no address; write --mlflow URI, or set MLFLOW_TRACKING_URI",
        ),
        (
            (*RAY, "--workers", "3"),
            "fitting.batch_size 16 cannot be divided by 3 replicas; choose a multiple of 3",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(refused, monkeypatch, arguments, sentence):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert refused(*arguments) == sentence


def test_stages_are_refused_before_ray_starts(refused):
    sentence = refused(*RAY, "--workers", "2", recipe=STAGES)
    assert sentence == "tiny-images trains in stages, which --strategy does not distribute; run it without"
