"""Command line of the benchmarks. Run nothing else at the same time."""

import typer

from benchmarks.commands.performance import (
    gpu,
    hot_path,
    lstm,
    model_infer,
    serving,
    startup,
    training_epoch,
)
from benchmarks.commands.reliability import chaos, fuzz, honesty, overload, reload, soak, stopping
from benchmarks.commands.sharing import connections, explain, workers
from benchmarks.scaling.command import scaling

cli = typer.Typer(help="Measure Atelier on this machine.", no_args_is_help=True, add_completion=False)
COMMANDS = (
    *(startup, lstm, training_epoch, serving, model_infer, hot_path, gpu, workers, connections, explain, scaling),
    *(reload, soak, chaos, honesty, fuzz, overload, stopping),
)
for command in COMMANDS:
    cli.command(name=command.__name__.replace("_", "-"))(command)
