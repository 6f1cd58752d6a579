"""What the log has said already, so that it is not repeated with every scan and every load."""

from collections.abc import Hashable


class Told:
    """Subjects of log lines, and what was last said of each; for one process."""

    def __init__(self) -> None:
        self._last: dict[Hashable, Hashable] = {}

    def is_news(self, subject: Hashable, content: Hashable = None) -> bool:
        """Whether this content has not been said of the subject the last time; it counts as said now."""
        if subject in self._last and self._last[subject] == content:
            return False
        self._last[subject] = content
        return True
