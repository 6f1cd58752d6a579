"""The command ``report``: one page about a run or a version, or several of them side by side. Imports no TensorFlow."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.disk import space_wanted
from training.errors import RunNotFound, SettingRefused
from training.report.comparison import write_comparison
from training.report.page import REPORT_FILE
from training.report.reported import Reported
from training.report.run_report import write_report
from training.runs.reporting import find_version, is_version, run_of, version_of
from training.runs.session import Models, Runs

COMPARISON_FILE = "comparison.html"


def report(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="A published model and the number of its version [default: the newest], or the directory of a run; "
            "several run directories, NAMEs or NAME/VERSIONs are compared.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The HTML file [default: in the directory of the run, or in --runs].")
    ] = None,
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
) -> None:
    """Write a report of a run as one HTML file; of several runs, a comparison.

    Nothing is trained, measured or downloaded: the page shows what the run has recorded.
    """
    if out and any(is_version(parent) for parent in out.resolve().parents):
        raise SettingRefused(f"{out} is inside a published version, which never changes; choose another --out")
    if out and not out.parent.is_dir():
        raise SettingRefused(f"{out.parent} is not a directory; --out names a file in a directory that exists")
    if out and out.is_dir():
        raise SettingRefused(f"{out} is a directory; --out names a file, for example {out / REPORT_FILE}")
    one = len(what) == 1 or (len(what) == 2 and what[1].isdecimal() and not Path(what[0]).is_dir())
    try:
        with space_wanted("the report", "free some space, and report again"):
            if one:
                path = _one(what[0], what[1] if len(what) == 2 else None, out, models=models, runs=runs)
            else:
                path = _several(what, out, models=models, runs=runs)
    except OSError as error:
        raise SettingRefused(
            f"{error.filename} cannot be written or read: {error.strerror}; choose an --out"
        ) from error
    Console().print(f"report: {path}", highlight=False, soft_wrap=True)


def _one(name: str, number: str | None, out: Path | None, *, models: Path, runs: Path) -> Path:
    reported, directory = _found(name, number, models=models, runs=runs)
    if out is None and directory is None:
        out = runs / reported.name / f"{reported.title.replace(' ', '-')}.html"
        out.parent.mkdir(parents=True, exist_ok=True)
    return write_report(reported, out or Path(directory or ".", REPORT_FILE), keep=None if out else directory)


def _several(what: list[str], out: Path | None, *, models: Path, runs: Path) -> Path:
    found: dict[str, Reported] = {}
    for name in what:
        title = name.rstrip("/")
        if title in found:
            raise SettingRefused(f"{title!r} is named twice; a comparison requires different runs")
        reported, _ = _found(name, None, models=models, runs=runs)
        found[title] = reported.called(title)
    if out is None:
        runs.mkdir(parents=True, exist_ok=True)
        out = runs / COMPARISON_FILE
    return write_comparison(list(found.values()), out)


def _found(name: str, number: str | None, *, models: Path, runs: Path) -> tuple[Reported, Path | None]:
    """What a name stands for, and the directory of its run."""
    path = Path(name)
    if number is None and path.is_dir():
        if is_version(path):
            return version_of(path, runs=runs)
        return run_of(path, models=models), path
    if number is None and "/" in name:
        model, _, last = name.rpartition("/")
        if (models / model).is_dir():
            return version_of(find_version(models, model, last), runs=runs)
        raise RunNotFound(f"{name} does not exist; runs are in {runs}/NAME/")
    return version_of(find_version(models, name, number), runs=runs)
