"""serving.json: the mutable serving policy of one model, next to its version directories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.contract.device import DeviceName
from app.contract.model_spec import LARGEST_BATCH
from app.contract.steps import LONGEST_TEXT
from app.errors import VersionRefused
from app.repository.policy_errors import in_words, shown

POLICY_FILE = "serving.json"
POLICY_LIMIT_BYTES = 2**20
STABLE, CANARY = "stable", "canary"
BackendName = Literal["onnx", "savedmodel"]

# The most that a file may ask for. A slip of the keyboard is refused here and does not take the machine's memory.
MOST_QUEUE_ROWS = 2**18
MOST_QUEUE_BYTES = 4 * 2**30
A_DAY_MS = 24 * 3600 * 1000
A_MINUTE_US = 60 * 10**6
MOST_VERSIONS = 1000

BatchSize = Annotated[int, Field(ge=1, le=LARGEST_BATCH)]
TextLength = Annotated[int, Field(ge=1, le=LONGEST_TEXT)]
VersionNumber = Annotated[int, Field(lt=10**18)]


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


class Latest(BaseModel):
    """The newest versions that load.

    Attributes:
        num_versions: how many of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    num_versions: int = Field(default=1, ge=1, le=MOST_VERSIONS)


class Specific(BaseModel):
    """These versions only.

    Attributes:
        versions: their numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    versions: tuple[VersionNumber, ...] = Field(min_length=1, max_length=MOST_VERSIONS)


class VersionPolicy(BaseModel):
    """Which versions serve; at most one of the three. Words of Triton's and TensorFlow Serving's version policies.

    Attributes:
        latest: the newest ones; one of them if nothing is said.
        all: every version, when true.
        specific: a list of versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    latest: Latest | None = None
    all: bool = False
    specific: Specific | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if (self.latest is not None) + self.all + (self.specific is not None) > 1:
            raise ValueError("state one of 'latest', 'all' and 'specific'")
        return self

    def choose(self, versions: Sequence[int]) -> tuple[list[int], int]:
        """Which of the available versions may serve.

        Args:
            versions: newest first.

        Returns:
            Candidates, newest first, and how many of them are to serve: one that is refused makes room for the next.
        """
        if self.all:
            return list(versions), len(versions)
        if self.specific is not None:
            chosen = [version for version in versions if version in self.specific.versions]
            return chosen, len(chosen)
        return list(versions), (self.latest or Latest()).num_versions


class CanaryPolicy(BaseModel):
    """A share of the requests without a version goes to the canary.

    Attributes:
        percent: of these requests.
        sticky_header: requests with the same value in this header go to the same version; those without it, and all if
            it is None, are spread by a hash of what they ask.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    percent: float = Field(ge=0, le=100)
    sticky_header: str | None = Field(default=None, min_length=1, max_length=256)


class ShadowPolicy(BaseModel):
    """Copies of the requests to the stable version go to the canary; its answers are compared and thrown away.

    Attributes:
        percent: of the requests that the stable version answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    percent: float = Field(default=100.0, ge=0, le=100)


class RollbackPolicy(BaseModel):
    """When the canary gets no more requests, neither real ones nor copies.

    Attributes:
        max_error_rate: share of its requests and copies that it may fail; None allows all.
        max_disagreement: share of the compared instances that it may answer otherwise than stable; None allows all.
        min_requests: nothing is concluded from fewer requests, or instances.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    max_error_rate: float | None = Field(default=None, ge=0, le=1)
    max_disagreement: float | None = Field(default=None, ge=0, le=1)
    min_requests: int = Field(default=100, ge=1, le=10**9)


class RolloutPolicy(BaseModel):
    """How the version with the label "canary" is compared with the stable one.

    Attributes:
        canary: its share of the real requests; None sends it none.
        shadow: its share of copies; None sends it none.
        rollback: the limits at which the service halts it.
        halted: why it was halted, written by the service; promote, rollback and removing the key clear it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    canary: CanaryPolicy | None = None
    shadow: ShadowPolicy | None = None
    rollback: RollbackPolicy = RollbackPolicy()
    halted: str | None = None


class CanaryPair(NamedTuple):
    """A canary, and the version of the same model that it is compared with."""

    name: str
    stable: int
    canary: int


class ServingPolicy(BaseModel):
    """The whole of serving.json; every part has a default, unknown keys are refused.

    Attributes:
        version_policy: which versions serve; the newest of them is the default version, unless a version has the
            label "stable".
        version_labels: names for versions, as ``/v1/models/{m}/labels/{l}`` uses them; these serve as well. "stable"
            is the default version, which answers requests without a version; "canary" is its candidate successor.
        rollout: how the canary is compared.
        promoted: versions that were stable before, the last one last; ``rollback`` goes back to it.
        batching: how requests share backend calls.
        backend: what runs the versions, ONNX Runtime or TensorFlow; None takes the service's default.
        device: "auto", "cpu", "cuda" or "cuda:N"; None takes the one of the process.
        instances: backends of each version that run batches at once, fed from one queue.
        gpu_mem_limit_mb: most MiB of GPU memory that each instance may take for its tensors; None sets no limit.
        max_text_characters: most characters of one text; all of it is split, even if the model keeps its first words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    version_policy: VersionPolicy = VersionPolicy()
    version_labels: dict[str, VersionNumber] = Field(default={}, max_length=MOST_VERSIONS)
    rollout: RolloutPolicy = RolloutPolicy()
    promoted: tuple[VersionNumber, ...] = Field(default=(), max_length=MOST_VERSIONS)
    batching: BatchingPolicy = BatchingPolicy()
    backend: BackendName | None = None
    device: DeviceName | None = None
    instances: int = Field(default=1, ge=1, le=64)
    gpu_mem_limit_mb: int | None = Field(default=None, ge=1, le=2**20)
    max_text_characters: int = Field(default=100_000, ge=1, le=1_000_000)

    # Triton's settings, where they state the rest; or which file it is, of a model that is a single file.
    _config: bytes = b""

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        stable, canary = self.version_labels.get(STABLE), self.version_labels.get(CANARY)
        if stable is not None and stable == canary:
            raise ValueError(f"version_labels: stable and canary both name version {stable}; they must differ")
        return self

    @property
    def load_settings(self) -> tuple[object, ...]:
        """What a version is loaded with; if it changes, the version is loaded again."""
        return (
            self.batching,
            self.backend,
            self.device,
            self.instances,
            self.gpu_mem_limit_mb,
            self.max_text_characters,
            self._config,
        )

    def compares(self, pair: CanaryPair) -> bool:
        """Whether the labels name these two versions; without the label "stable" any version may be it."""
        labels = self.version_labels
        return labels.get(CANARY) == pair.canary and labels.get(STABLE, pair.stable) == pair.stable

    def candidates(self, versions: Sequence[int]) -> tuple[list[int], int]:
        """See ``VersionPolicy.choose``; the canary is not a candidate, unless there is no other version."""
        others = [version for version in versions if version != self.version_labels.get(CANARY)]
        return self.version_policy.choose(others or versions)

    @classmethod
    def of_file(cls, mark: str) -> Self:
        """The settings of a model that is a single file: the defaults. With another file it is loaded again.

        Args:
            mark: other than before if the file is.
        """
        policy = cls()
        policy._config = mark.encode()
        return policy

    @classmethod
    def parse(cls, path: Path, data: bytes, *, config: bytes = b"") -> Self:
        """The policy from the bytes of serving.json, which come from ``path``.

        Args:
            path: for messages.
            data: the document.
            config: Triton's settings of the model, if keys of the document come from them.

        Raises:
            VersionRefused: not JSON, an unknown key, or a value out of range.
        """
        try:
            policy = cls.model_validate_json(data)
        except ValidationError as error:
            raise VersionRefused(f"{path}: {in_words(cls, error.errors()[0])}") from error
        policy._config = config
        return policy
