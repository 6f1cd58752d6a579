"""serving.json: the mutable serving policy of one model, next to its version directories."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.contract.device import DeviceName
from app.errors import VersionRefused
from app.repository.batching_policy import BatchingPolicy
from app.repository.policy_errors import in_words

POLICY_FILE = "serving.json"
POLICY_LIMIT_BYTES = 2**20
STABLE, CANARY = "stable", "canary"
BackendName = Literal["onnx", "savedmodel"]
# What runs a version: one of those, or a backend of an installed package, which backend.json names.
RunBy = BackendName | Literal["plugin"]

# The largest values in a file.
MOST_VERSIONS = 1000

VersionNumber = Annotated[int, Field(lt=10**18)]


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
    """Which versions serve; at most one of the three. Names of Triton's and TensorFlow Serving's version policies.

    Attributes:
        latest: the newest ones; one by default.
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
            it is None, are distributed by a hash of their content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    percent: float = Field(ge=0, le=100)
    sticky_header: str | None = Field(default=None, min_length=1, max_length=256)


class ShadowPolicy(BaseModel):
    """Copies of the requests to the stable version go to the canary; its answers are compared and discarded.

    Attributes:
        percent: of the requests that the stable version answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    percent: float = Field(default=100.0, ge=0, le=100)


class RollbackPolicy(BaseModel):
    """When the canary gets no more requests or copies.

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
        instances: backends of each version that run batches in parallel, fed from one queue.
        gpu_mem_limit_mb: most MiB of GPU memory that each instance may take for its tensors; None sets no limit.
        enable_cpu_mem_arena: ONNX Runtime's option of that name: it keeps the memory of its tensors on the CPU for
            later batches; False returns it after each batch.
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
    enable_cpu_mem_arena: bool = True
    max_text_characters: int = Field(default=100_000, ge=1, le=1_000_000)

    # Which settings of Triton the model has, and which files these name.
    _triton_mark: Hashable = ()
    # Of a model that is a single file: which file it is.
    _file_mark: str = ""
    # Of versions of another tool: which golden samples the state directory has for them. (): they are Atelier's own.
    _origin: Hashable = ()

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        stable, canary = self.version_labels.get(STABLE), self.version_labels.get(CANARY)
        if stable is not None and stable == canary:
            raise ValueError(f"version_labels: stable and canary both name version {stable}; they must differ")
        return self

    @property
    def load_settings(self) -> tuple[object, ...]:
        """The settings of a load; if they change, the version is loaded again."""
        return (
            self.batching,
            self.backend,
            self.device,
            self.instances,
            self.gpu_mem_limit_mb,
            self.enable_cpu_mem_arena,
            self.max_text_characters,
            self._triton_mark,
            self._file_mark,
            self._origin,
        )

    def compares(self, pair: CanaryPair) -> bool:
        """Whether the labels name these two versions; without the label "stable" any version may be the stable one."""
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
        policy._file_mark = mark
        return policy

    def with_origin(self, mark: Hashable) -> Self:
        """These settings for versions of Atelier or of another tool, and their golden samples in the state directory.

        Args:
            mark: () of Atelier's own. The versions are loaded again if it is another one than before.
        """
        policy = self.model_copy()
        policy._origin = mark
        return policy

    @classmethod
    def parse(cls, path: Path, data: bytes, *, triton_mark: Hashable = ()) -> Self:
        """The policy from the bytes of serving.json, which come from ``path``.

        Args:
            path: for messages.
            data: the document.
            triton_mark: of Triton's settings of the model, if keys of the document come from them; see ``Defaults``.

        Raises:
            VersionRefused: not JSON, an unknown key, or a value out of range.
        """
        try:
            policy = cls.model_validate_json(data)
        except ValidationError as error:
            raise VersionRefused(f"{path}: {in_words(cls, error.errors()[0])}") from error
        policy._triton_mark = triton_mark
        return policy
