"""Which versions of a model serve: ``version_policy`` of serving.json."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.repository.version_directories import LARGEST_VERSION

# The largest values in a file.
MOST_VERSIONS = 1000

VersionNumber = Annotated[int, Field(le=LARGEST_VERSION)]


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
