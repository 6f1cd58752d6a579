"""A study: trials of a recipe one after another, in one file from which the same command continues.

Read ``search_for`` first. Each trial's values depend only on the seed and on the trials before it, so a study that was
interrupted tries the same values as one that was not.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.markup import escape

from training.datasets.splits import Splits
from training.errors import DataUnusable, SettingRefused, TrainingDiverged
from training.overrides import apply_overrides, as_text, settings
from training.recipe.recipe import Recipe
from training.recipe.search import SearchSpace
from training.tuning.space import assignments, shown, suggested
from training.tuning.trial import Material, Tried, run_trial

JOURNAL_FILE = "journal.log"
LOCK_FILE = "lock"
TRIALS_FOLDER = "trials"
WHOLE_EPOCHS = 2
"""Epochs after which a trial may be pruned at the earliest."""
FIRST_TRIALS = 5
"""Trials with random values, of which none is pruned: both sampler and pruner first need something to compare with."""
GIVE_UP_AFTER = 3
"""A study ends when its first trials, this many, all fail: the settings are then not the reason."""

_STATES = {True: TrialState.PRUNED, False: TrialState.COMPLETE}
"""By whether a trial was pruned; Optuna takes the value of a pruned one from its last report."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a study is; one that continues must be the same.

    Attributes:
        recipe: with the overrides applied.
        dataset: ``real`` or ``synthetic``.
        space: path -> what to try.
        seed: of the values that are tried; the trainings have that of the recipe.
    """

    recipe: Recipe
    dataset: str
    space: SearchSpace
    seed: int

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """As Optuna calls it."""
        return "minimize" if self.recipe.fitting.monitor == "val_loss" else "maximize"

    def identity(self) -> dict[str, str]:
        """What must not change while a study continues, each as text."""
        fixed = {path: as_text(value) for path, value in settings(self.recipe) if path not in self.space}
        return fixed | {
            "dataset": self.dataset,
            "seed": str(self.seed),
            **{f"search of {path}": shown(tried) for path, tried in self.space.items()},
        }


@contextmanager
def open_study(search: Search, directory: Path) -> Iterator[optuna.Study]:
    """The study in ``directory``, new or continued, for this process alone; a trial that was killed is recorded.

    Raises:
        SettingRefused: another process works on it, or it was started with other settings.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK_FILE).open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingRefused(
                f"another process works on the study in {directory}; wait for it, or choose another --study"
            ) from None
        storage = JournalStorage(JournalFileBackend(str(directory / JOURNAL_FILE)))
        study = optuna.create_study(
            storage=storage, study_name=search.recipe.name, direction=search.direction, load_if_exists=True
        )
        before = study.user_attrs.get("identity")
        if before is not None and before != search.identity():
            raise SettingRefused(f"{directory} is a study with other settings: {_differing(before, search.identity())}")
        study.set_user_attr("identity", search.identity())
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)  # without a reason: it counts as never tried
        yield study


def _differing(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The first difference, in words, with the cure."""
    path = next(path for path in {**before, **now} if before.get(path) != now.get(path))
    was, is_now = before.get(path, "not set"), now.get(path, "not set")
    return f"{path} was {was} and is {is_now}; use the same command, or start another with --study NAME"


def search_for(
    search: Search,
    study: optuna.Study,
    splits: Splits,
    *,
    trials: int,
    timeout_s: float | None,
    directory: Path,
    console: Console,
) -> None:
    """Run trials until there are ``trials``, or no more time to start one.

    Args:
        search: what the study is.
        study: of ``open_study``.
        splits: train and validation parts; the test part is not read.
        trials: of the study in all, with those of earlier commands.
        timeout_s: no trial starts later than this, in seconds; None for no limit.
        directory: of the study.
        console: one line for the start and one for the end of each trial.

    Raises:
        SettingRefused: the monitor is not measured.
        TrainingDiverged: the first trials all failed.
        KeyboardInterrupt: after the running trial was recorded.
    """
    _check_monitor(search.recipe, splits)
    material = Material(recipe=search.recipe, dataset=search.dataset, splits=splits)
    deadline = None if timeout_s is None else monotonic() + timeout_s
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=WHOLE_EPOCHS)
    while (done := len(tried(study))) < trials:
        if deadline is not None and monotonic() >= deadline:
            console.print(f"no trial starts after {timeout_s:g} s; {done} of {trials} are done", highlight=False)
            return
        study.pruner = pruner
        study.sampler = optuna.samplers.TPESampler(seed=search.seed * 100_003 + done, n_startup_trials=FIRST_TRIALS)
        _next_trial(search, study, material, place=done + 1, trials=trials, directory=directory, console=console)
        first = tried(study)[:GIVE_UP_AFTER]
        if len(first) == GIVE_UP_AFTER == len(tried(study)) and all("failed" in each.user_attrs for each in first):
            raise TrainingDiverged(
                f"the first {GIVE_UP_AFTER} trials all failed, the last one with {first[-1].user_attrs['failed']}; "
                "correct the recipe or the space, and start another study with --study NAME"
            )


def _next_trial(
    search: Search,
    study: optuna.Study,
    material: Material,
    *,
    place: int,
    trials: int,
    directory: Path,
    console: Console,
) -> None:
    """Ask, train, tell, and print both."""
    trial = study.ask()
    values = suggested(trial, search.space, search.recipe)
    trial.set_user_attr("values", values)
    console.print(f"trial {place} of {trials}: {' '.join(assignments(values))}", highlight=False, soft_wrap=True)

    def hopeless(epoch: int, value: float) -> bool:
        trial.report(value, epoch)
        return epoch < search.recipe.fitting.epochs and bool(trial.should_prune())

    try:
        recipe = apply_overrides(search.recipe, assignments(values))
        ended = run_trial(recipe, material, directory=directory / TRIALS_FOLDER / f"{place:04d}", hopeless=hopeless)
    except BaseException:  # Ctrl-C, a full disk: recorded without a reason, so that it is tried again
        study.tell(trial, state=TrialState.FAIL)
        raise
    trial.set_user_attr("seconds", ended.seconds)
    trial.set_user_attr("epochs", ended.epochs)
    if ended.failed:
        trial.set_user_attr("failed", ended.failed)
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, None if ended.pruned else ended.value, state=_STATES[ended.pruned])
    console.print(f"  {_said(ended, search.recipe.fitting.monitor)}", highlight=False, soft_wrap=True)


def _said(ended: Tried, monitor: str) -> str:
    """How a trial ended, in words."""
    if ended.failed:
        return f"[yellow]failed[/] after epoch {ended.epochs}: {escape(ended.failed)}"
    pruned = ", pruned: at that epoch half of the others were better" if ended.pruned else ""
    return f"{monitor} {ended.value:.4f} after epoch {ended.epochs}, {ended.seconds:.1f} s{pruned}"


def tried(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that count: they ended by themselves, were pruned, or failed; not those that were interrupted."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in {TrialState.COMPLETE, TrialState.PRUNED} or "failed" in trial.user_attrs
    ]


def _check_monitor(recipe: Recipe, splits: Splits) -> None:
    """Refuse a study without a figure to compare trials by."""
    if not len(splits.validation):
        raise DataUnusable(f"{splits.name} has no validation part, by which trials could be compared")
    if recipe.fitting.monitor == "val_accuracy" and "accuracy" not in recipe.metrics:
        raise SettingRefused(
            f"{recipe.name} does not measure val_accuracy, by which trials are compared; set fitting.monitor=val_loss"
        )


def importances(study: optuna.Study) -> dict[str, float]:
    """Path -> share of the differences between trials that it explains, the largest first; empty with few trials.

    Source: Watanabe, Bansal, Hutter, PED-ANOVA, arXiv:2304.10255.
    """
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    if len(complete) < 2 * FIRST_TRIALS or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator: Any = optuna.importance.PedAnovaImportanceEvaluator()
    found: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return found
