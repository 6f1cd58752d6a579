"""How many nodes a rate needs, by the measured capacity of one."""

from dataclasses import dataclass
from math import ceil

USED_SHARE = 0.6
"""Of the capacity, as the plan: the rest is for bursts, and for the load of a node that has ended."""
SPARE = 1
"""Nodes more than the rate needs, so that one may end."""


@dataclass(frozen=True)
class Need:
    """What a rate needs.

    Attributes:
        per_minute: requests.
        nodes: with ``USED_SHARE`` and ``SPARE``.
        gbit_per_s: of the bodies and heads of requests and replies together, without TCP and TLS.
    """

    per_minute: float
    nodes: int
    gbit_per_s: float


def need(per_minute: float, *, node_per_s: float, bytes_per_request: int) -> Need:
    """The nodes and the network for a rate, of nodes that answer ``node_per_s``."""
    per_s = per_minute / 60
    return Need(per_minute, ceil(per_s / (node_per_s * USED_SHARE)) + SPARE, per_s * bytes_per_request * 8 / 1e9)
