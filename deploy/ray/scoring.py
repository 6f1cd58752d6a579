"""Bulk scoring on several nodes with Ray Data: the rows and the columns of ``python -m app score``.

The driver reads the inputs in chunks; image files are only named there, and read where they are scored. Actors score
the chunks. The driver puts the answers back in order, so that each row is in the output once, whatever died meanwhile.
"""

import asyncio
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow
import ray
import ray.data

from app.errors import InvalidInput, ServingError
from app.scoring.answers import Columns, record
from app.scoring.checkpoint import Checkpoint, Record
from app.scoring.inputs import IMAGES
from app.scoring.local import LocalScorer
from app.scoring.rows import Row, Takes, Value
from app.scoring.run import Count
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.wiring.assembly import build_lifecycle

if TYPE_CHECKING:
    from app.lifecycle.lifecycle import Lifecycle

PLACE, CHUNK, RECORDS = "place", "chunk", "records"
BATCHES_OF_CHUNK = 8
"""Each chunk costs Ray some tens of milliseconds; a chunk of a node that dies is scored again."""

Item = tuple[str, Value | Callable[[], Value] | ServingError]
"""Id of a row, and its value, or how to read it, or why it could not be read."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The model that scores.

    Attributes:
        settings: of the service, such as ``models_dir``, by name.
        model: its name.
        version: None: the default version.
        top_k: labels of one row, for classifiers.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    model: str
    version: int | None = None
    top_k: int = 1


@dataclass(frozen=True)
class Facts:
    """What the driver needs to know of the model."""

    takes: Takes
    columns: Columns
    version: int
    chunk_rows: int


@dataclass(frozen=True)
class Pool:
    """The actors that score, and the resources of each."""

    actors: int = 1
    num_cpus: float = 1
    num_gpus: float = 0


class ChunkScorer:
    """An actor of Ray Data with the loaded model. It has no coroutines, with which Ray would run it on an event loop.

    Raises:
        ServingError: the model cannot be loaded.
    """

    def __init__(self, scored: Scored) -> None:
        self._runner = asyncio.Runner()
        self._lifecycle, self._scorer = self._runner.run(_loaded(scored))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Score chunks: their places and pickled items; returns the places and the records as lines of JSON."""
        chunks = [self._runner.run(_records(self._scorer, pickle.loads(chunk))) for chunk in batch[CHUNK]]
        return {PLACE: list(batch[PLACE]), RECORDS: [b"".join(map(_line, records)) for records in chunks]}


def facts_of(scored: Scored) -> Facts:
    """Load the model for what the driver needs to know of it.

    Raises:
        ServingError: it cannot be loaded.
    """
    _, scorer = asyncio.run(_loaded(scored))
    return Facts(scorer.takes, scorer.columns, scorer.version, scorer.chunk_rows)


async def _records(scorer: LocalScorer, items: Sequence[Item]) -> list[Record]:
    found = await asyncio.to_thread(lambda: [_decoded(scorer, value) for _, value in items])
    good = [place for place, each in enumerate(found) if not isinstance(each, ServingError)]
    for begin in range(0, len(good), scorer.chunk_rows):
        places = good[begin : begin + scorer.chunk_rows]
        for place, answer in zip(places, await scorer.score([found[each] for each in places]), strict=True):
            found[place] = answer
    return [
        record(row_id, {}, answer.message) if isinstance(answer, ServingError) else record(row_id, answer)
        for (row_id, _), answer in zip(items, found, strict=True)
    ]


def _decoded(scorer: LocalScorer, value: Value | Callable[[], Value] | ServingError) -> Any:
    if isinstance(value, ServingError):
        return value
    try:
        return scorer.decode(value() if callable(value) else value)
    except ServingError as error:
        return error
    except OSError as error:
        return InvalidInput(f"{error.strerror or error}")


async def _loaded(scored: Scored) -> tuple["Lifecycle", LocalScorer]:
    lifecycle = build_lifecycle(Settings(**scored.settings), Metrics())
    await lifecycle.load_one(scored.model, scored.version)
    return lifecycle, LocalScorer(lifecycle.registry.get(scored.model, scored.version), top_k=scored.top_k)


def score(scored: Scored, facts: Facts, rows: Iterator[Row], checkpoint: Checkpoint, pool: Pool, count: Count) -> None:
    """Score all rows and record them in order.

    Args:
        scored: the model, with the version of ``facts``.
        facts: see ``facts_of``.
        rows: all of them.
        checkpoint: started.
        pool: of actors; an actor that dies is started again where there is room, and its chunk scored again.
        count: of the rows that are done; is updated.

    Raises:
        ServingError: Ray Data ended without the answers to a chunk.
    """
    chunks = [
        ray.put(pyarrow.table({PLACE: [place], CHUNK: [pickle.dumps(items)]}))
        for place, items in enumerate(_chunks(rows, facts.chunk_rows * BATCHES_OF_CHUNK))
    ]
    if not chunks:
        return
    dataset = ray.data.from_arrow_refs(chunks).map_batches(
        ChunkScorer,
        fn_constructor_args=(scored,),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=pool.actors),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
    )
    early: dict[int, bytes] = {}
    following = 0
    for row in dataset.iter_rows():
        early[row[PLACE]] = row[RECORDS]
        while (lines := early.pop(following, None)) is not None:
            records = [orjson.loads(line) for line in lines.splitlines()]
            checkpoint.append(records)
            count.rows += len(records)
            count.failed += sum(each["error"] is not None for each in records)
            following += 1
    if following != len(chunks):
        raise ServingError(f"the answers to chunk {following} of {len(chunks)} are missing; start again")


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Item]]:
    while items := [_item(row) for row in islice(rows, size)]:
        yield items


def _line(one: Record) -> bytes:
    """JSON keeps the digits of float32, which a column of Arrow would not."""
    return orjson.dumps(one, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


def _item(row: Row) -> Item:
    """Image files are read by the actor; other rows are in the file that the driver reads."""
    if Path(row.id).suffix.lower() in IMAGES:
        return row.id, row.load
    try:
        return row.id, row.load()
    except ServingError as error:
        return row.id, error
