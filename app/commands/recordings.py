"""``recordings``: lists, exports and deletes recorded requests; a running service need not stop."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.commands.shared import fail, print_facts, print_table, read_settings

if TYPE_CHECKING:
    from app.contract.recordings.directory import RecordingDirectory

_LONGEST_SHOWN = 40


def recordings(
    model: Annotated[
        str | None, typer.Argument(help="Name of the model [default: a summary of all models with recordings].")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the newest recorded instances.")] = False,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="Number of instances that --list shows.")] = 20,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Write all instances, with the right answers, to a new file."),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete all recordings of the model, or with --request-id of one request.")
    ] = False,
    request_id: Annotated[
        str | None, typer.Option(help="List, export or delete only this request (x-request-id of its reply).")
    ] = None,
) -> None:
    """Show, export or delete the recorded requests of a model.

    serving.json of a model switches recording on. The recordings are below ATELIER_STATE_DIR. What a running service
    records while this command runs may be missing in the list or in the file.
    """
    from app.contract.recordings.directory import RecordingDirectory, model_directories

    if sum((list_, export is not None, delete)) > 1:
        fail("--list, --export and --delete exclude each other")
    state_dir = read_settings().state_dir
    if state_dir is None:
        fail("there is no state directory: set ATELIER_STATE_DIR")
    try:
        if model is None:
            if list_ or delete or export is not None or request_id is not None:
                fail("name a model: python -m app recordings MODEL")
            _summarise([RecordingDirectory(path) for path in model_directories(state_dir)], state_dir)
            return
        directory = RecordingDirectory.of(state_dir, model)
        if not directory.segments():
            names = (
                ", ".join(
                    unquote(path.name) for path in model_directories(state_dir) if RecordingDirectory(path).segments()
                )
                or "none"
            )
            fail(f"no request to model {model!r} is recorded in {state_dir}; models with recordings: {names}", code=1)
        if delete:
            _delete(directory, model, request_id)
        elif export is not None:
            _export(directory, export, request_id)
        elif list_ or request_id is not None:
            _list(directory, most, request_id)
        else:
            _summarise([directory], state_dir)
    except OSError as error:
        fail(f"{error.filename or state_dir}: {error.strerror or error}")


def _documents(directory: "RecordingDirectory", request_id: str | None) -> Iterator[dict[str, Any]]:
    from app.contract.recordings.reading import read_documents

    for document in read_documents(directory):
        if request_id is None or document.get("request_id") == request_id:
            yield document


def _summarise(directories: "list[RecordingDirectory]", state_dir: Path) -> None:
    """Print what there is of each model."""
    shown = False
    for directory in directories:
        segments = directory.segments()
        files = [path for segment in segments for path in (segment.path, segment.feedback) if path.exists()]
        name, count, right, oldest, newest = directory.path.name, 0, 0, "", ""
        for document in _documents(directory, None):
            name, newest = str(document.get("model")), _time(document)
            oldest = oldest or newest
            count += 1
            right += "feedback" in document
        if segments:
            shown = True
            facts = {
                "instances": f"{count}, {right} with the right answer",
                "from": f"{oldest} to {newest}" if count else "-",
                "files": f"{len(segments)}, {sum(path.stat().st_size for path in files) / 2**20:.1f} MiB",
                "in": str(directory.path),
            }
            print_facts(name, {key: Text(value) for key, value in facts.items()})
    if not shown:
        Console(soft_wrap=True).print(Text(f"no request is recorded in {state_dir}"))


def _list(directory: "RecordingDirectory", most: int, request_id: str | None) -> None:
    from collections import deque

    table = Table("time", "request id", "instance", "version", "answer", "right answer")
    for document in deque(_documents(directory, request_id), most):
        right = document.get("feedback") or {}
        table.add_row(
            _time(document),
            str(document.get("request_id")),
            str(document.get("instance")),
            str(document.get("version")),
            _answer(document),
            _short(right.get("label", right.get("value", ""))),
        )
    print_table(table)


def _export(directory: "RecordingDirectory", path: Path, request_id: str | None) -> None:
    """Write a file that training reads; all of it or none."""
    from app.contract.recordings.instance import print_line

    if path.suffix != ".jsonl":
        fail(f"--export is {str(path)!r}; its name must end in .jsonl")
    if path.exists():
        fail(f"{path} exists; choose another file")
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    count = 0
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for document in _documents(directory, request_id):
                file.write(print_line(document))
                count += 1
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    Console(soft_wrap=True).print(Text(f"wrote {path}: {_counted(count, 'instance')}"))


def _delete(directory: "RecordingDirectory", model: str, request_id: str | None) -> None:
    from app.recording.lookup import delete

    if request_id is None:
        count = directory.remove_all()
        line = f"{model}: all recordings are deleted ({_counted(count, 'file')})"
    else:
        count = delete(directory, request_id)
        if not count:
            fail(f"request {request_id!r} of model {model!r} is not recorded", code=1)
        line = f"{model}: request {request_id} is deleted ({_counted(count, 'instance')})"
    Console(soft_wrap=True).print(Text(line))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _time(document: dict[str, Any]) -> str:
    return datetime.fromtimestamp(document.get("time_s", 0), UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _answer(document: dict[str, Any]) -> str:
    answer = document.get("answer")
    if answer:
        return f"{answer['label']} ({answer['score']:.4f})"
    return _short(
        next((tensor.get("values", tensor.get("text", "...")) for tensor in document.get("outputs", {}).values()), "")
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
