"""Starts a multi-worker training through Ray Train, prints what worker 0 prints, and ends all workers together.

The package ``ray[train]`` (the extra ``ray``) is imported only with ``--strategy ray``. Ray chooses the machines and
sets TF_CONFIG; each worker then does what ``--strategy multi-worker`` does (``training.on_ray.worker``).
"""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from training import environment
from training.errors import SettingRefused, WorkerDied
from training.fit.distribution import Kind, refuse_divided
from training.on_ray.worker import Ended, Printed, Refused, Task, take_part
from training.overrides import apply_overrides
from training.recipe.recipe import Recipe
from training.runs.session import INTERRUPTED
from training.runs.tracking import tracking_uri

INSTALL = (
    "--strategy ray requires the package ray[train]; install it on each machine: pip install 'atelier-serving[ray]'"
)
TOKEN = "if the cluster requires a token, set RAY_AUTH_MODE=token, and put its token into ~/.ray/auth_token"
LOCAL = "local"
LOCAL_STORE_BYTES = 100 * 2**20
"""Memory for objects of a cluster that ends with the run; only the task and lines of text are in it."""
POLL_S = 0.5
REACHED_S = 5
"""Seconds that a cluster has to take a connection; Ray itself would try for minutes."""
_PASSED_ON = ("ATELIER_", "MLFLOW_", "TF_NUM_INTRAOP_THREADS")


def check_options(strategy: Kind, workers: int | None, address: str | None) -> None:
    """Refuse options that do not go together.

    Raises:
        SettingRefused: names the option.
    """
    if strategy is not Kind.RAY:
        for option, given in (("--workers", workers), ("--ray-address", address)):
            if given is not None:
                raise SettingRefused(f"{option} goes with --strategy ray only, not with --strategy {strategy}")
    elif workers is None or workers < 1:
        raise SettingRefused(
            f"--strategy ray requires --workers N, at least 1{'' if workers is None else f', not {workers}'}"
        )


def train_on_ray(
    recipe: Recipe,
    overrides: tuple[str, ...],
    directory: Path,
    console: Console,
    *,
    workers: int,
    address: str | None,
    mlflow: str | None = None,
    **plan: Any,
) -> int:
    """Train with several workers, and print what worker 0 prints.

    Args:
        recipe, overrides, directory, console, mlflow, plan: as for ``training.runs.session.train``. ``directory`` and
            the paths in ``plan`` must mean the same on each machine.
        workers: number of processes, each on one CPU.
        address: of a running cluster; None starts one on this machine, which ends with the run.

    Returns:
        The exit code of the command.

    Raises:
        SettingRefused: Ray is not installed or cannot be reached, a setting cannot be distributed, or a worker
            refuses its input.
        WorkerDied: the process of a worker ended by itself.
    """
    refuse_divided(apply_overrides(recipe, overrides), workers)
    options = {**plan, "mlflow": tracking_uri(mlflow)}
    try:
        import ray.train  # noqa: F401
    except ImportError as error:
        raise SettingRefused(INSTALL) from error
    task = Task(
        recipe=plan["recipe_file"] or recipe.name,
        folder=Path.cwd(),
        overrides=overrides,
        directory=directory,
        width=console.width,
        variables={name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)},
        options=options,
    )
    _check_reachable(address)
    environment.quiet_tensorflow()  # Ray's trainer imports it
    try:
        with _cluster(address, workers), TemporaryDirectory(prefix="atelier-ray-") as folder:
            console.print(f"Ray starts {workers} workers", highlight=False)
            return _run(task, workers, folder, console)
    except KeyboardInterrupt:
        console.print("interrupted; all workers were stopped, and --strategy ray does not resume")
        raise typer.Exit(INTERRUPTED) from None


def _check_reachable(address: str | None) -> None:
    if address in {None, "auto"}:
        return
    host, _, port = str(address).rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise SettingRefused(f"--ray-address {address}: expected HOST:PORT of the head of a Ray cluster, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHED_S).close()
    except (OSError, OverflowError) as error:
        raise SettingRefused(
            f"Ray at {address} cannot be used: {error}; start it there with: ray start --head"
        ) from error


@contextmanager
def _cluster(address: str | None, workers: int) -> Iterator[None]:
    """Be connected to a cluster. At the end Ray stops what this command started in it."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report each start to its makers
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(
                address=LOCAL,
                num_cpus=workers,
                object_store_memory=LOCAL_STORE_BYTES,
                include_dashboard=False,
                **quiet,
            )
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises that class itself when a process of its own does not start
        ray.shutdown()
        reason = str(error).strip().splitlines()[0]
        place, cure = (address, f"; {TOKEN}") if address else ("this machine", "")
        raise SettingRefused(f"Ray at {place} cannot be used: {reason}{cure}") from error
    try:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus < workers:
            raise SettingRefused(
                f"--workers {workers} requires {workers} CPUs; the Ray cluster at {address} has {cpus}"
            )
        yield
    finally:
        ray.shutdown()


def _run(task: Task, workers: int, folder: str, console: Console) -> int:
    """Run the trainer in a thread: in the main one it would take Ctrl-C to itself."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer
    from ray.util.queue import Empty, Queue

    queue = Queue(actor_options={"num_cpus": 0})
    trainer = TensorflowTrainer(
        take_part,
        train_loop_config={"task": task, "queue": queue},
        scaling_config=ScalingConfig(num_workers=workers, placement_strategy="SPREAD"),
        run_config=RunConfig(storage_path=folder, name=task.directory.name),
    )
    finished: Future[Any] = Future()
    threading.Thread(target=_fit, args=(trainer, finished), name="ray-train", daemon=True).start()
    code, refused = 1, dict[int, str]()
    while True:
        last = finished.done()  # before the look into the queue, so that nothing is left in it
        try:
            message = queue.get(timeout=POLL_S)
        except Empty:
            if last:
                break
            continue
        if isinstance(message, Printed):
            console.print(Text(message.text), end="", soft_wrap=True)
        elif isinstance(message, Refused):
            refused[message.index] = message.sentence
        elif isinstance(message, Ended):
            code = message.code
    if error := finished.exception():
        raise _in_words(error, refused) from error
    return code


def _fit(trainer: Any, finished: "Future[Any]") -> None:
    try:
        finished.set_result(trainer.fit())
    except BaseException as error:  # noqa: BLE001  (the main thread raises it)
        finished.set_exception(error)


def _in_words(error: BaseException, refused: dict[int, str]) -> BaseException:
    """The error of a training that failed; that of Ray itself, with its tracebacks, if it is a fault of the program."""
    if refused:
        index = min(refused)
        return SettingRefused(f"worker {index}: {refused[index]}")
    for index, failure in sorted(getattr(error, "worker_failures", {}).items()):
        if hasattr(failure, "health_check_failure"):
            return WorkerDied(f"worker {index} ended by itself; the others were stopped, start the training again")
    return error
