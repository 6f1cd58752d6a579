"""The finished rows: a file of lines next to the output, which an interruption does not damage.

Each line is one row, written in the order of the inputs. A line that was cut off is dropped when the work continues.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from app.contract.files.regular import shown
from app.scoring.rows import CannotScore

Record = Mapping[str, Any]
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_LINE_LIMIT_BYTES = 256 * 2**20


def partial_of(output: Path) -> Path:
    """Path of the partial file of an output."""
    return output.with_name(f".{output.name}.partial")


class Checkpoint:
    """The partial file of one output.

    Args:
        output: path of the final file.
        plan: what is scored and how; the work continues only with the same plan.
    """

    def __init__(self, output: Path, plan: Mapping[str, Any]) -> None:
        self.path = partial_of(output)
        self._plan = plan
        self._file: IO[bytes] | None = None

    def start(self) -> None:
        """Start a new file; an old one is replaced."""
        self._file = self.path.open("wb")
        self._file.write(orjson.dumps({"plan": self._plan}, option=_OPTIONS))
        self._file.flush()

    def resume(self) -> list[int]:
        """Continue the file of an interrupted run.

        Returns:
            Number of rows that are done, and how many of them failed.

        Raises:
            CannotScore: it does not exist, is damaged, or has another plan.
        """
        if not self.path.is_file():
            raise CannotScore(f"there is no interrupted run to resume: {shown(self.path)} does not exist")
        with self.path.open("rb") as file:
            head = file.readline(_LINE_LIMIT_BYTES)
            plan = _line(head, self.path).get("plan")
            if plan != orjson.loads(orjson.dumps(self._plan)):
                raise CannotScore(f"{shown(self.path)} was begun with {plan}; this is {dict(self._plan)}")
            complete, rows, failed = len(head), 0, 0
            for line in file:
                if not line.endswith(b"\n"):
                    break
                complete += len(line)
                rows += 1
                failed += _line(line, self.path).get("error") is not None
        self._file = self.path.open("r+b")
        self._file.truncate(complete)
        self._file.seek(complete)
        return [rows, failed]

    def append(self, records: Sequence[Record]) -> None:
        """Add complete rows."""
        assert self._file is not None
        self._file.write(b"".join(orjson.dumps(record, option=_OPTIONS) for record in records))
        self._file.flush()

    def close(self) -> None:
        """Write everything to the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def records(self) -> Iterator[dict[str, Any]]:
        """The rows that are done, in order."""
        with self.path.open("rb") as file:
            file.readline(_LINE_LIMIT_BYTES)
            for line in file:
                if line.endswith(b"\n"):
                    yield _line(line, self.path)

    def remove(self) -> None:
        """Delete the file, once the output is complete."""
        self.path.unlink()


def _line(line: bytes, path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CannotScore(f"{shown(path)} is damaged; delete it and start again without --resume") from error
    if not isinstance(document, dict):
        raise CannotScore(f"{shown(path)} is damaged; delete it and start again without --resume")
    return document
