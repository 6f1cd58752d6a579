"""``training tune`` as a user sees it: the space, the trials, what is found, and how a study continues."""

import csv
import json
import shlex
import signal
from pathlib import Path

import pytest

from tests.support.forked_training import ForkedTraining

RECIPE = """
from tests.training.tiny import *
from training.recipe.search import Choices, Range
RECIPE = image_recipe(
    epochs=3,
    target=0.1,
    fitting=Fitting(epochs=3, batch_size=32, monitor="val_loss", watch=False),
    search={
        "optimizer.learning_rate": Range(low=1e-4, high=1e-1, logarithmic=True),
        "network.width": Range(low=2, high=9),
    },
)
"""
STUDY = Path("runs/tiny-images/tuning/study")


@pytest.fixture
def tiny(write_recipe):
    write_recipe("tiny_images.py", RECIPE)


def history(path):
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def result(tmp_path):
    return json.loads((tmp_path / STUDY / "result.json").read_text())


def test_a_dry_run_prints_the_recipe_s_space_and_writes_nothing(tiny, command, tmp_path):
    ended = command("tune", "tiny-images", "--trials", "5", "--dry-run")
    assert ended.code == 0
    assert "0.0001 to 0.1, logarithmic" in ended.out
    assert "2 to 9" in ended.out
    assert not (tmp_path / "runs").exists()


def test_without_a_space_of_the_recipe_rate_batch_dropout_and_units_are_searched_but_not_what_set_fixes(
    write_recipe, command
):
    write_recipe(
        "tiny_images.py",
        """
        from tests.training.tiny import *
        from training.network.dense_blocks import Dense, dense_classifier
        RECIPE = image_recipe(network=Dense(units=(8, 4)), build=dense_classifier)
        """,
    )
    ended = command("tune", "tiny-images", "--trials", "5", "--dry-run", "--set", "network.dropout=0.1")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ended.out.splitlines() if "│" in line]
    assert rows == [
        ["optimizer.learning_rate", "0.002 to 0.2, logarithmic", "0.02"],
        ["fitting.batch_size", "8 or 16 or 32", "16"],
        ["network.units", "4,2 or 8,4 or 16,8", "8,4"],
    ]


def test_the_printed_command_repeats_the_best_trial_epoch_by_epoch(tiny, command, tmp_path):
    from training.runs.catalogue import load_recipe

    ended = command("tune", "tiny-images", "--trials", "3", "--set", "network.dropout=0.2")
    assert ended.code == 0, ended.err
    assert "3 complete, 0 pruned, 0 failed" in ended.out
    assert load_recipe("tiny-images").data.test_reads == []
    found = result(tmp_path)
    best = found["best"]
    assert best["value"] == min(trial["value"] for trial in found["trials"])
    assert f"best val_loss {best['value']:.4f}, trial {best['trial']}" in ended.out
    line = next(line for line in ended.out.splitlines() if line.startswith("to train it: "))
    arguments = shlex.split(line)[6:]
    assert arguments[0] == "run"
    assert "network.dropout=0.2" in arguments
    assert command(*arguments, "--run-id", "again").code == 0
    assert history(tmp_path / "runs/tiny-images/again/history.csv") == history(
        tmp_path / STUDY / f"trials/{best['trial']:04d}/history.csv"
    )
    for picture in ("history.png", "slice.png"):
        assert (tmp_path / STUDY / picture).read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / STUDY).rglob("*.npz"))


def test_a_trial_that_diverges_is_recorded_and_the_study_goes_on_and_later_continues(tiny, command, tmp_path):
    search = ("--search", "optimizer.learning_rate=0.02/0.03/1e30", "--epochs", "1")
    ended = command("tune", "tiny-images", "--trials", "3", *search, "--seed", "0")
    assert ended.code == 0, ended.out
    states = [trial["state"] for trial in result(tmp_path)["trials"]]
    assert sorted(set(states)) == ["complete", "fail"]
    failed = next(trial for trial in result(tmp_path)["trials"] if trial["state"] == "fail")
    assert failed["failed"].startswith("TrainingDiverged: the loss became")
    assert "failed after epoch 0: TrainingDiverged" in ended.out
    more = command("tune", "tiny-images", "--trials", "4", *search, "--seed", "0")
    assert more.code == 0
    assert "trial 4 of 4" in more.out
    assert "trial 3 of" not in more.out
    assert [trial["state"] for trial in result(tmp_path)["trials"]][:3] == states
    nothing = command("tune", "tiny-images", "--trials", "4", *search, "--seed", "0")
    assert nothing.code == 0
    assert "trial 4 of" not in nothing.out


def test_a_trial_that_is_worse_than_half_of_the_others_is_pruned(tiny, command, tmp_path):
    searched = ("--search", "optimizer.learning_rate=1e-9/0.02", "--set", "network.width=8")
    ended = command("tune", "tiny-images", "--trials", "6", "--seed", "1", *searched)
    assert ended.code == 0, ended.err
    pruned = [trial for trial in result(tmp_path)["trials"] if trial["state"] == "pruned"]
    assert pruned, ended.out
    assert all(trial["values"]["optimizer.learning_rate"] == "1e-9" and trial["epochs"] == 2 for trial in pruned)
    assert result(tmp_path)["best"]["settings"]["optimizer.learning_rate"] == "0.02"
    assert "pruned: at that epoch half of the others were better" in ended.out


def stopped(tmp_path, line, sent):
    """Start the study in a process of its own, and stop it at a line of its output; exit code and the rest."""
    begun = ["-m", "training", "tune", "tiny_images.py", "--trials", "2"]
    with ForkedTraining(begun, cwd=tmp_path) as process:
        for said in process.stdout:
            if said.startswith(line):
                process.send_signal(sent)
                break
        rest = process.stdout.read()
        return process.wait(), rest


def test_a_study_that_was_killed_and_interrupted_tries_the_same_values_as_one_that_was_not(tiny, command, tmp_path):
    whole = command("tune", "tiny-images", "--trials", "2", "--study", "whole")
    assert whole.code == 0, whole.err
    (tmp_path / "tiny_images.py").write_text(RECIPE)
    stopped(tmp_path, "trial 1 of 2", signal.SIGKILL)
    code, rest = stopped(tmp_path, "trial 2 of 2", signal.SIGINT)
    assert code == 130
    assert "interrupted; the same command continues with the trial that was running" in rest
    ended = command("tune", "tiny-images", "--trials", "2")
    assert ended.code == 0, ended.err
    assert "trial 1 of 2" not in ended.out
    assert "2 complete, 0 pruned, 0 failed" in ended.out

    def values(study):
        found = json.loads((tmp_path / STUDY.parent / study / "result.json").read_text())
        return [(trial["values"], trial["value"]) for trial in found["trials"]]

    assert values("study") == values("whole")


def test_when_the_first_trials_all_fail_the_study_ends_with_the_reason(tiny, command):
    ended = command("tune", "tiny-images", "--trials", "9", "--search", "fitting.batch_size=500/600")
    assert ended.code == 2
    assert "the first 3 trials all failed, the last one with SettingRefused: fitting.batch_size" in ended.err
    assert "trial 4 of" not in ended.out


def test_no_trial_starts_after_the_timeout(tiny, command):
    ended = command("tune", "tiny-images", "--trials", "2", "--timeout", "0")
    assert ended.code == 2
    assert "no trial starts after 0 s; 0 of 2 are done" in ended.out
    assert "has reached its end; allow more --trials, or a longer --timeout" in ended.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--search", "network.widht=2..9"), "'network.widht' is not a setting; did you mean --search network.width="),
        (("--search", "network.width=9..2"), "a range must go from a smaller to a larger number, not from 9"),
        (("--search", "network.dropout=0..0.5,log"), "a logarithmic range must begin above 0"),
        (("--search", "network.dropout=0..0.5,lin"), "after the comma 'lin' in place of log"),
        (
            ("--search", "network.dropout=0.5"),
            "'network.dropout=0.5' has no range and no choices; write PATH=LOW..HIGH",
        ),
        (("--search", "network.width=2.5..4"), "network.width=2.5: expected a whole number"),
        (("--search", "optimizer.name=adam/adan"), "optimizer.name=adan: expected one of sgd"),
        (("--search", "optimizer.name=adam/adam"), "choices must be at least two different values"),
        (("--search", "network.width=2..4", "--set", "network.width=3"), "--search and --set both name network.width"),
        (
            ("--set", "network.width=3", "--set", "optimizer.learning_rate=1"),
            "--set fixes every setting of its space; give another with --search",
        ),
    ],
)
def test_a_wrong_space_is_refused_in_one_sentence_before_anything_is_trained(arguments, sentence, tiny, command):
    ended = command("tune", "tiny-images", "--trials", "2", *arguments)
    assert ended.code == 2
    assert sentence in ended.err
    assert "trial 1" not in ended.out


def test_a_study_does_not_continue_with_other_settings(tiny, command):
    assert command("tune", "tiny-images", "--trials", "1", "--epochs", "1").code == 0
    ended = command("tune", "tiny-images", "--trials", "2", "--epochs", "2")
    assert ended.code == 2
    assert "fitting.epochs was 1 and is 2; use the same command, or start another with --study NAME" in ended.err


def test_a_recipe_without_a_validation_part_and_one_without_the_monitor_s_metric_cannot_be_tuned(write_recipe, command):
    write_recipe("tiny_numbers.py", "from tests.training.tiny import *\nRECIPE = number_recipe()\n")
    ended = command("tune", "tiny-numbers", "--trials", "1")
    assert ended.code == 2
    assert "given has no validation part, by which trials could be compared" in ended.err
    write_recipe("tiny_images.py", "from tests.training.tiny import *\nRECIPE = image_recipe(metrics=())\n")
    ended = command("tune", "tiny-images", "--trials", "1")
    assert ended.code == 2
    assert "does not measure val_accuracy, by which trials are compared" in ended.err


def test_two_processes_do_not_work_on_one_study(tiny, command, tmp_path):
    import fcntl

    (tmp_path / STUDY).mkdir(parents=True)
    with (tmp_path / STUDY / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = command("tune", "tiny-images", "--trials", "1")
    assert ended.code == 2
    assert "another process works on the study" in ended.err
