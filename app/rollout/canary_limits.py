"""When a canary is halted: the limits of ``rollout.rollback``, over windows of its counts."""

from app.repository.rollout_policy import RollbackPolicy, RolloutPolicy
from app.rollout.comparison import Comparison

# Limits are judged over windows of this many times min_requests, so that a late failure of a canary is noticed soon.
WINDOW = 10


class Limits:
    """Judges one canary by its counts since the last full window.

    Errors are counted in requests, and disagreement in instances. Each has its own window: one large request must not
    end the window in which many small ones have failed.
    """

    def __init__(self) -> None:
        self._errors = Comparison()
        self._disagreement = Comparison()

    def passed(self, policy: RolloutPolicy, seen: Comparison) -> str | None:
        """Add counts; returns which limit of the policy is exceeded, in words, or None."""
        self._errors.merge(seen)
        self._disagreement.merge(seen)
        reason = _errors(policy.rollback, self._errors) or _disagreement(policy.rollback, self._disagreement)
        full = WINDOW * policy.rollback.min_requests
        if self._errors.requests + self._errors.copies >= full:
            self._errors = Comparison()
        if self._disagreement.rows >= full:
            self._disagreement = Comparison()
        return reason


def _errors(limits: RollbackPolicy, seen: Comparison) -> str | None:
    asked = seen.requests + seen.copies
    if limits.max_error_rate is None or asked < limits.min_requests or seen.error_rate <= limits.max_error_rate:
        return None
    failed = seen.errors + seen.copy_errors
    return f"{failed} of {asked} requests failed, more than max_error_rate {limits.max_error_rate:g} allows"


def _disagreement(limits: RollbackPolicy, seen: Comparison) -> str | None:
    rows, most = seen.rows, limits.max_disagreement
    if most is None or rows < limits.min_requests or seen.disagreement <= most:
        return None
    return (
        f"{rows - seen.agreed} of {rows} instances were answered otherwise than by stable, "
        f"more than max_disagreement {most:g} allows"
    )
