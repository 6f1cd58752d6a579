"""When a canary is halted: the limits of ``rollout.rollback``, over windows of its counts."""

from app.repository.policy import RolloutPolicy
from app.rollout.comparison import Comparison

# Limits are judged over windows of so many times min_requests, so that a canary that turns bad late is noticed soon.
WINDOW = 10


class Limits:
    """Judges one canary by its counts since the last full window."""

    def __init__(self) -> None:
        self._window = Comparison()

    def passed(self, policy: RolloutPolicy, seen: Comparison) -> str | None:
        """Add counts; returns which limit of the policy is exceeded, in words, or None."""
        self._window.merge(seen)
        reason = verdict(policy, self._window)
        most = max(self._window.requests + self._window.copies, self._window.rows)
        if most >= WINDOW * policy.rollback.min_requests:
            self._window = Comparison()
        return reason


def verdict(policy: RolloutPolicy, seen: Comparison) -> str | None:
    """Which limit of the policy is passed, in words; None if none is."""
    limits = policy.rollback
    asked = seen.requests + seen.copies
    if limits.max_error_rate is not None and asked >= limits.min_requests and seen.error_rate > limits.max_error_rate:
        failed = seen.errors + seen.copy_errors
        return f"{failed} of {asked} requests failed, more than max_error_rate {limits.max_error_rate:g} allows"
    if (
        limits.max_disagreement is not None
        and seen.rows >= limits.min_requests
        and seen.disagreement > limits.max_disagreement
    ):
        other = seen.rows - seen.agreed
        return (
            f"{other} of {seen.rows} instances were answered otherwise than by stable, "
            f"more than max_disagreement {limits.max_disagreement:g} allows"
        )
    return None
