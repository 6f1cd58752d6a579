"""serving.json: the mutable serving policy of one model, beside its version directories."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import VersionRefused

POLICY_FILE = "serving.json"


class BatchingPolicy(BaseModel):
    """How requests for one model version share backend calls.

    Attributes:
        max_batch_size: most instances in one backend call; None takes the hint in model.json.
        max_queue_delay_us: microseconds the oldest instance may wait for company while the backend is
            idle; 0 never waits, batches then grow from what arrives while the backend is busy.
        max_queue_rows: most instances waiting; further requests get 429.
        max_queue_bytes: most bytes of inputs waiting; further requests get 429.
        default_timeout_ms: milliseconds until the answer of a request that names no timeout is no longer wanted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    max_batch_size: int | None = Field(default=None, ge=1)
    max_queue_delay_us: int = Field(default=0, ge=0)
    max_queue_rows: int = Field(default=4096, ge=1)
    max_queue_bytes: int = Field(default=64 * 2**20, ge=1)
    default_timeout_ms: int = Field(default=30_000, ge=1)


class ServingPolicy(BaseModel):
    """The whole of serving.json; every part has a default, unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    batching: BatchingPolicy = BatchingPolicy()

    @classmethod
    def read(cls, model_directory: Path) -> Self:
        """Read serving.json of a model; the defaults if there is none.

        Raises:
            VersionRefused: not JSON, an unknown key, or a value out of range.
        """
        path = model_directory / POLICY_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise VersionRefused(f"{path}: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            raise VersionRefused(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
