"""serving.json: the mutable serving policy of one model, next to its version directories."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.contract.device import DeviceName
from app.errors import VersionRefused
from app.repository.batching_policy import BatchingPolicy
from app.repository.policy_errors import in_words
from app.repository.recording_policy import RecordingPolicy
from app.repository.rollout_policy import CanaryPair, RolloutPolicy
from app.repository.version_policy import MOST_VERSIONS, VersionNumber, VersionPolicy

POLICY_FILE = "serving.json"
POLICY_LIMIT_BYTES = 2**20
STABLE, CANARY = "stable", "canary"
BackendName = Literal["onnx", "savedmodel"]
# What runs a version: one of those, or a backend of an installed package, which backend.json names.
RunBy = BackendName | Literal["plugin"]


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
        recording: which requests are recorded; None records none.
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
    recording: RecordingPolicy | None = None
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
