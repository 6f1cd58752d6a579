"""What uvicorn's protocol reads and sets of a request, which it calls a cycle."""

from typing import Self


class Cycle:
    """A request on its connection; subclasses have ``response_complete``.

    Attributes:
        disconnected: the connection is lost.
    """

    __slots__ = ("disconnected",)

    def __init__(self) -> None:
        self.disconnected = False

    @property
    def message_event(self) -> Self:
        """Provides the ``set`` method that uvicorn calls when the connection is lost."""
        return self

    def set(self) -> None:
        """See ``message_event``."""


class Answered(Cycle):
    """A request that is already answered."""

    __slots__ = ()
    response_complete = True


ANSWERED = Answered()
