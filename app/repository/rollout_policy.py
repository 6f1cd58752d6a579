"""How a canary is compared with the stable version: ``rollout`` of serving.json."""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field


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
