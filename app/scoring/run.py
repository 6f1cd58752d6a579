"""One run: reads, decodes, scores and records rows in chunks; at most two chunks are in memory."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from app.errors import InvalidInput, ServingError
from app.scoring.answers import record
from app.scoring.checkpoint import Checkpoint
from app.scoring.rows import CannotScore, Row, Value

Decoded = Any


class Scorer(Protocol):
    """Answers chunks of instances."""

    @property
    def chunk_rows(self) -> int:
        """Rows of a chunk."""
        ...

    def decode(self, value: Value) -> Decoded:
        """One instance as ``score`` takes it; blocks."""
        ...

    async def score(self, instances: Sequence[Decoded]) -> list[dict[str, Any] | ServingError]:
        """The answers by column, or the error, of each instance."""
        ...


@dataclass
class Count:
    """Rows that are done, and those of them that failed."""

    rows: int = 0
    failed: int = 0


async def run(
    rows: Iterator[Row], scorer: Scorer, checkpoint: Checkpoint, count: Count, *, on_progress: Callable[[Count], None]
) -> None:
    """Score all rows; while a chunk runs, the next one is read and decoded in a thread.

    Args:
        rows: without those that are done.
        scorer: of the model.
        checkpoint: started or resumed; gets each chunk once it is complete.
        count: of the rows that are done; is updated.
        on_progress: called after each chunk.
    """
    ahead = asyncio.create_task(asyncio.to_thread(_read, rows, scorer))
    try:
        while chunk := await ahead:
            ahead = asyncio.create_task(asyncio.to_thread(_read, rows, scorer))
            good = [(place, each) for place, (_, each) in enumerate(chunk) if not isinstance(each, ServingError)]
            found: dict[int, Any] = {place: each for place, (_, each) in enumerate(chunk)}
            if good:
                answers = await scorer.score([each for _, each in good])
                found |= {place: answer for (place, _), answer in zip(good, answers, strict=True)}
            records = [_record(row_id, found[place]) for place, (row_id, _) in enumerate(chunk)]
            checkpoint.append(records)
            count.rows += len(records)
            count.failed += sum(each["error"] is not None for each in records)
            on_progress(count)
    finally:
        ahead.cancel()


def skip(rows: Iterator[Row], checkpoint: Checkpoint) -> None:
    """Skip the finished rows, without reading their files.

    Raises:
        CannotScore: the inputs are no longer those of the interrupted run.
    """
    for number, done in enumerate(checkpoint.records(), start=1):
        row = next(rows, None)
        if row is None or row.id != done["id"]:
            found = "nothing" if row is None else row.id
            raise CannotScore(f"row {number} was {done['id']} and is now {found}; start again without --resume")


def _read(rows: Iterator[Row], scorer: Scorer) -> list[tuple[str, Decoded | ServingError]]:
    """The next chunk: ids with the decoded instances, or with the error of those that cannot be decoded."""
    return [(row.id, _decoded(row, scorer)) for row in islice(rows, scorer.chunk_rows)]


def _decoded(row: Row, scorer: Scorer) -> Decoded | ServingError:
    try:
        return scorer.decode(row.load())
    except ServingError as error:
        return error
    except OSError as error:
        return InvalidInput(f"{error.strerror or error}")


def _record(row_id: str, answer: dict[str, Any] | ServingError) -> dict[str, Any]:
    if isinstance(answer, ServingError):
        return record(row_id, {}, answer.message)
    return record(row_id, answer)
