"""Seconds that one replica takes for a number of requests that wait at the same time, measured in closed loops."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """The time of a turn by its number of requests, with straight lines between the measured ones.

    In a closed loop of c connections the replica always has c requests: it answers c of them in c / rate seconds.

    Attributes:
        sizes: numbers of requests, ascending from 1.
        seconds: of a turn with each of them.
    """

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @classmethod
    def of_rates(cls, rates: Mapping[int, float]) -> "Curve":
        """From answers per second by the number of connections, which contains 1.

        A larger turn never takes less time than a smaller one.
        """
        sizes = tuple(sorted(rates))
        seconds: list[float] = []
        for size in sizes:
            seconds.append(max([size / rates[size], *seconds[-1:]]))
        return cls(sizes, tuple(seconds))

    @property
    def largest(self) -> int:
        """The largest turn."""
        return self.sizes[-1]

    @property
    def capacity_per_s(self) -> float:
        """Most answers per second."""
        return max(size / seconds for size, seconds in zip(self.sizes, self.seconds, strict=True))

    def __call__(self, count: int) -> float:
        """Seconds of a turn of ``count`` requests, from 1 to the largest."""
        at = bisect_left(self.sizes, count)
        if self.sizes[at] == count:
            return self.seconds[at]
        low, high = self.sizes[at - 1], self.sizes[at]
        share = (count - low) / (high - low)
        return self.seconds[at - 1] + share * (self.seconds[at] - self.seconds[at - 1])
