"""Reports a run to a server of MLflow: settings, figures of each epoch, results, and the published version.

The package ``mlflow-skinny`` (the extra ``mlflow``) is imported only with ``--mlflow``. A server that cannot be reached
refuses the run before its training; one that fails later costs the report, never the training.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from training.errors import SettingRefused
from training.measure.card import heads_of
from training.overrides import as_text, settings
from training.recipe.recipe import Recipe
from training.runs.directories import CARD_FILE

if TYPE_CHECKING:
    from training.runs.run import Outcome

URI = "MLFLOW_TRACKING_URI"
FROM_ENVIRONMENT = "env"
INSTALL = "--mlflow requires the package mlflow-skinny; install it: pip install 'atelier-serving[mlflow]'"
MOST_PARAMETERS = 100
"""Of one request; a rule of MLflow's REST API."""
_FIGURES = (
    *("accuracy", "log_loss", "calibration_error", "perplexity", "mae", "rmse"),
    *("micro_f1", "macro_f1", "exact_match"),
)


def tracking_uri(given: str | None) -> str | None:
    """The address that ``--mlflow`` means; None without the option.

    Raises:
        SettingRefused: the address is to come from the environment, which has none; or the package is not installed.
    """
    if given is None:
        return None
    uri = os.environ.get(URI, "") if given == FROM_ENVIRONMENT else given
    if not uri:
        raise SettingRefused(f"--mlflow has no address; write --mlflow URI, or set {URI}")
    try:
        import mlflow  # noqa: F401
    except ImportError as error:
        raise SettingRefused(INSTALL) from error
    return uri


class Tracking:
    """One run on the server.

    Args:
        client: ``mlflow.MlflowClient``; None reports nothing.
        run_id: of the run.
        console: for the one warning.
    """

    def __init__(self, client: Any, run_id: str, console: Console) -> None:
        self._client = client
        self._run_id = run_id
        self._console = console
        self._silent = client is None

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Report the figures of a finished epoch, counted from 1."""
        self._metrics({name: float(value) for name, value in figures.items()}, step=epoch)

    def ended(self, outcome: "Outcome") -> None:
        """Report the results, the card, and the published version."""
        measured = {"validation": outcome.validation, "test": outcome.test}
        figures = {
            f"{part}{f'_{head}' if head else ''}": figures
            for part, found in measured.items()
            if found
            for head, figures in heads_of(found.as_json()).items()
        }
        self._metrics(
            {
                f"{part}_{name}": float(found[name])
                for part, found in figures.items()
                for name in _FIGURES
                if found.get(name) is not None
            },
            step=outcome.metrics["epochs"],
        )
        if outcome.version:
            self._try(lambda: self._client.set_tag(self._run_id, "atelier.version", str(outcome.version)))
        self._try(lambda: self._client.log_artifact(self._run_id, str(outcome.directory / CARD_FILE)))

    def close(self, status: str) -> None:
        """Report how the run ended: FINISHED, FAILED or KILLED."""
        self._try(lambda: self._client.set_terminated(self._run_id, status))

    def _metrics(self, figures: Mapping[str, float], *, step: int) -> None:
        if self._silent:
            return
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        found = [Metric(name, value, now, step) for name, value in figures.items()]
        self._try(lambda: self._client.log_batch(self._run_id, metrics=found))

    def _try(self, report: Callable[[], Any]) -> None:
        """A report that fails is a warning, and the last one that is tried."""
        if self._silent:
            return
        try:
            report()
        except Exception as error:  # noqa: BLE001  (of MLflow, its HTTP client and its stores; none may end a training)
            self._silent = True
            reason = escape(_first_line(error))
            self._console.print(f"[yellow]warning:[/] MLflow gets no more of this run: {reason}", soft_wrap=True)


@contextmanager
def tracked(uri: str | None, recipe: Recipe, directory: Path, command: str, console: Console) -> Iterator[Tracking]:
    """Report the body as a run of the experiment with the name of the recipe.

    Args:
        uri: of the server, or of a database; None reports nothing.
        recipe: with the settings of the run.
        directory: of the run; its name becomes that of the run on the server.
        command: the command line.
        console: for warnings.

    Raises:
        SettingRefused: the server cannot be reached, or refuses.
    """
    if uri is None:
        yield Tracking(None, "", console)
        return
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seven take minutes, for each epoch
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    from mlflow import MlflowClient
    from mlflow.entities import Param

    parameters = [Param(path, as_text(value)) for path, value in settings(recipe)]
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(recipe.name)
        number = experiment.experiment_id if experiment else client.create_experiment(recipe.name)
        tags = {"atelier.directory": str(directory), "atelier.command": command}
        run_id = client.create_run(number, run_name=directory.name, tags=tags).info.run_id
        for start in range(0, len(parameters), MOST_PARAMETERS):
            client.log_batch(run_id, params=parameters[start : start + MOST_PARAMETERS])
    except Exception as error:
        raise SettingRefused(f"MLflow at {uri} cannot be used: {_first_line(error)}") from error
    tracking, status = Tracking(client, run_id, console), "FAILED"
    try:
        yield tracking
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracking.close(status)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
