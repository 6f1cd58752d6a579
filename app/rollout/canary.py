"""A canary next to the stable version of a model: which requests it gets, and when it is halted."""

import asyncio
import logging
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from app.batching.work import Prediction, RequestOptions
from app.errors import ServingError, Unavailable
from app.loaded import LoadedModel
from app.repository.rollout_policy import CanaryPair, RolloutPolicy
from app.rollout.canary_limits import Limits
from app.rollout.comparison import Comparison
from app.runtime.backend import byte_count
from app.serving.predictor import predict
from app.types import Clock, Tensors

log = logging.getLogger("atelier.rollout")

# Most copies that wait until the canary is idle; further requests are not copied.
MOST_COPIES = 256
MOST_COPY_BYTES = 64 * 2**20
COPIES_AT_ONCE = 32
_PARTS = 1_000_000


@dataclass(eq=False)
class Rollout:
    """One canary next to one stable version; on the event loop.

    Attributes:
        policy: shares and limits.
        stable, canary: the versions.
        halt: is called once, with this rollout and the reason, when a limit is passed; None: the supervisor judges.
        clock: monotonic seconds.
        comparison: what is known so far.
        limits: judge the canary.
        reason: why it was halted; None while it runs.
    """

    policy: RolloutPolicy
    stable: LoadedModel
    canary: LoadedModel
    halt: Callable[["Rollout", str], None] | None
    clock: Clock
    comparison: Comparison = field(default_factory=Comparison)
    limits: Limits = field(default_factory=Limits)
    reason: str | None = None
    _copies: deque[tuple[Tensors, Prediction]] = field(default_factory=deque)
    _copy_bytes: int = 0
    _pump: asyncio.Task[None] | None = None
    _has_ended: bool = False

    @property
    def pair(self) -> CanaryPair:
        """The two versions."""
        return CanaryPair(self.stable.name, self.stable.version, self.canary.version)

    @property
    def sticky_header(self) -> str | None:
        """Name of the header whose value decides, in lower case; None without one."""
        name = self.policy.canary.sticky_header if self.policy.canary is not None else None
        return name.lower() if name is not None else None

    @property
    def splits(self) -> bool:
        """Whether some real requests go to the canary."""
        return self.reason is None and self.policy.canary is not None and self.policy.canary.percent > 0

    def choose(self, key: bytes) -> LoadedModel:
        """The version that answers a request; the same for the same key, and for another model another choice."""
        if not self.splits:
            return self.stable
        assert self.policy.canary is not None
        return self.canary if _share(self.stable.name, key) < self.policy.canary.percent / 100 else self.stable

    def answered(self, model: LoadedModel, code: int) -> None:
        """Count an answered real request."""
        if model is self.canary:
            self._note(Comparison(requests=1, errors=int(code >= 500)))

    def copy(self, inputs: Tensors, prediction: Prediction) -> None:
        """Copy an answered request to the canary, which answers it when it is idle."""
        shadow = self.policy.shadow
        if shadow is None or self.reason is not None or self._has_ended:
            return
        if shadow.percent < 100 and _share("copy", next(iter(inputs.values())).tobytes()) >= shadow.percent / 100:
            return
        nbytes = _size((inputs, prediction))
        if len(self._copies) >= MOST_COPIES or self._copy_bytes + nbytes > MOST_COPY_BYTES:
            self.comparison.dropped += 1
            return
        self._copies.append((inputs, prediction))
        self._copy_bytes += nbytes
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run_copies())

    def with_new(self, old: LoadedModel, new: LoadedModel) -> "Rollout":
        """The same shares and limits for a version that was loaded again, with an empty comparison."""
        stable = new if self.stable is old else self.stable
        canary = new if self.canary is old else self.canary
        return Rollout(self.policy, stable, canary, self.halt, self.clock, reason=self.reason)

    def end(self) -> None:
        """Stop copying and judging: requests in progress do not count for the next rollout."""
        self.halt, self._has_ended = None, True
        if self._pump is not None:
            self._pump.cancel()
        self._copies.clear()
        self._copy_bytes = 0

    async def _run_copies(self) -> None:
        try:
            while self._copies and self.reason is None:
                await self.stable.batcher.drained()  # real requests come first
                some = [self._copies.popleft() for _ in range(min(COPIES_AT_ONCE, len(self._copies)))]
                self._copy_bytes -= sum(map(_size, some))
                with self.canary.leases:
                    await asyncio.gather(*(self._run_copy(*each) for each in some))
        except Exception:
            log.exception("model %s: the comparison with version %d failed", self.canary.name, self.canary.version)
        finally:
            self._pump = None

    async def _run_copy(self, inputs: Tensors, prediction: Prediction) -> None:
        lowest = RequestOptions(priority=self.canary.batcher.rules.priority_levels)
        try:
            copied = await predict(self.canary, inputs, lowest, clock=self.clock)
            scores = self.stable.spec.postprocessing.output if self.stable.classes else None  # type: ignore[union-attr]
            seen = Comparison(copies=1, stable_s=prediction.compute_s, canary_s=copied.compute_s)
            seen.add(prediction.outputs, copied.outputs, scores)
        except Unavailable:  # it has no room or no time for a copy; its answers are not at fault
            seen = Comparison(dropped=1)
        except (ServingError, KeyError, ValueError):  # it refuses the input, fails, or answers with other tensors
            seen = Comparison(copies=1, copy_errors=1)
        self._note(seen)

    def _note(self, seen: Comparison) -> None:
        """Add counts, and halt the canary if a limit is exceeded."""
        self.comparison.merge(seen)
        if self.reason is None and self.halt is not None and (reason := self.limits.passed(self.policy, seen)):
            self.stop(reason)
            self.halt(self, reason)

    def stop(self, reason: str, *, is_written: bool = False) -> None:
        """Stop sending requests to the canary.

        Args:
            reason: in words.
            is_written: serving.json contains the halt. If it is removed from there, that is a change of the policy.
        """
        self.reason = reason
        self._copies.clear()
        self._copy_bytes = 0
        if is_written:
            self.policy = self.policy.model_copy(update={"halted": reason})


def _size(copy: tuple[Tensors, Prediction]) -> int:
    """Bytes that a waiting copy uses."""
    inputs, prediction = copy
    return byte_count(inputs) + byte_count(prediction.outputs)


def _share(salt: str, key: bytes) -> float:
    """0 to 1, spread evenly over keys."""
    return zlib.crc32(key, zlib.crc32(salt.encode())) % _PARTS / _PARTS
