"""``batching`` of serving.json: how the requests for one model version share backend calls."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.contract.model_spec import LARGEST_BATCH
from app.contract.steps import LONGEST_TEXT
from app.repository.policy_errors import shown

# The largest values in a file. A typing mistake is refused here and does not take the machine's memory.
MOST_QUEUE_ROWS = 2**18
MOST_QUEUE_BYTES = 4 * 2**30
A_DAY_MS = 24 * 3600 * 1000
A_MINUTE_US = 60 * 10**6

BatchSize = Annotated[int, Field(ge=1, le=LARGEST_BATCH)]
TextLength = Annotated[int, Field(ge=1, le=LONGEST_TEXT)]


class BatchingPolicy(BaseModel):
    """How requests for one model version share backend calls.

    Attributes:
        max_batch_size: most instances in one backend call; None takes the measured size from which on larger
            batches no longer pay, at most the hint in model.json.
        max_queue_delay_us: microseconds the oldest instance may wait for company while the backend is
            idle; 0 never waits, batches then grow from what arrives while the backend is busy.
        max_queue_rows: most instances waiting; further requests get 429.
        max_queue_bytes: most bytes of inputs waiting; further requests get 429.
        max_queue_s: most seconds that what waits is estimated to take; further requests get 429.
        allowed_batch_sizes: increasing, the last one is max_batch_size; a batch is padded with rows up to the next
            of them. Empty allows every size.
        length_buckets: increasing token counts; only texts up to the same one of them share a batch. None takes the
            ones that the measured latency favours, an empty list lets all texts share.
        priority_levels: number of priority levels; 1 is the highest.
        default_priority_level: level of requests without one, or with one beyond the levels.
        default_timeout_ms: milliseconds until the answer of a request without a timeout is no longer needed.
        max_execution_ms: milliseconds after which a batch in progress is given up; 0 sets no limit, None takes 30 s or
            a hundred times what the batch was estimated to take, whichever is more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    max_batch_size: BatchSize | None = None
    max_queue_delay_us: int = Field(default=0, ge=0, le=A_MINUTE_US)
    max_queue_rows: int = Field(default=4096, ge=1, le=MOST_QUEUE_ROWS)
    max_queue_bytes: int = Field(default=64 * 2**20, ge=1, le=MOST_QUEUE_BYTES)
    max_queue_s: float = Field(default=1.0, gt=0, le=3600)
    allowed_batch_sizes: tuple[BatchSize, ...] = Field(default=(), max_length=64)
    length_buckets: Annotated[tuple[TextLength, ...], Field(max_length=256)] | None = None
    priority_levels: int = Field(default=3, ge=1, le=100)
    default_priority_level: int = Field(default=2, ge=1)
    default_timeout_ms: int = Field(default=30_000, ge=1, le=A_DAY_MS)
    max_execution_ms: int | None = Field(default=None, ge=0, le=A_DAY_MS)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for name in ("allowed_batch_sizes", "length_buckets"):
            values = getattr(self, name) or ()
            if list(values) != sorted(set(values)):
                raise ValueError(f"{name} is {shown(list(values))}; its values must increase")
        if self.allowed_batch_sizes and self.allowed_batch_sizes[-1] != self.max_batch_size:
            stated = "is not stated" if self.max_batch_size is None else f"is {self.max_batch_size}"
            raise ValueError(
                f"allowed_batch_sizes ends with {self.allowed_batch_sizes[-1]} and max_batch_size {stated}; "
                f"state max_batch_size {self.allowed_batch_sizes[-1]}"
            )
        if self.default_priority_level > self.priority_levels:
            raise ValueError(
                f"default_priority_level is {self.default_priority_level}, there are {self.priority_levels} levels"
            )
        return self
