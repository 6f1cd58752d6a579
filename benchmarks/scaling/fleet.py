"""A fleet of replicas under a load that changes: failures, and an autoscaler that reacts late.

An extrapolation: replicas are those of the curve, and what lies between them (load balancer, network) takes no time.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil

from benchmarks.scaling.curve import Curve


@dataclass(frozen=True)
class Fleet:
    """How the fleet is run; it never shrinks.

    Attributes:
        replicas: at the beginning.
        most: replicas at most.
        target: waiting and running requests of a replica that the autoscaler aims at; None: no autoscaler.
        look_every_s: of the autoscaler.
        start_s: from the decision to a replica that is ready.
        notice_s: from the death of a replica to the last request that is sent to it.
        queue: requests of a replica at which it refuses more.
    """

    replicas: int
    most: int
    target: float | None
    look_every_s: float = 15.0
    start_s: float = 30.0
    notice_s: float = 10.0
    queue: int = 1024


@dataclass
class Seen:
    """What the load met.

    Attributes:
        latencies_s: (due, seconds) of the answered requests.
        refused: times of requests to a replica whose queue was full.
        failed: times of the requests that a dead replica had or got.
        sizes: (time, replicas) at each change.
    """

    latencies_s: list[tuple[float, float]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    sizes: list[tuple[float, int]] = field(default_factory=list)


@dataclass(eq=False)
class _Replica:
    waiting: deque[float] = field(default_factory=deque)
    running: list[float] = field(default_factory=list)
    alive: bool = True

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.running)


class Simulation:
    """Requests of a changing Poisson rate; each goes to the less loaded of two replicas that are drawn at random.

    Args:
        fleet: how it is run.
        curve: of each replica.
        rate_at: requests per second by the time.
        seconds: of the load.
        deaths: times at which a replica ends, with all that it has.
        seed: of the arrivals and draws.
    """

    def __init__(
        self,
        fleet: Fleet,
        curve: Curve,
        rate_at: Callable[[float], float],
        *,
        seconds: float,
        deaths: Sequence[float] = (),
        seed: int,
    ) -> None:
        self._fleet, self._curve, self._rate_at, self._seconds = fleet, curve, rate_at, seconds
        self._drawn = random.Random(seed)
        self._most_per_s = max(rate_at(second) for second in range(ceil(seconds) + 1))
        self._replicas = [_Replica() for _ in range(fleet.replicas)]
        self._starting = 0
        self._seen = Seen(sizes=[(0.0, fleet.replicas)])
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0
        self._plan_arrival(0.0)
        for when in deaths:
            self._plan(when, self._die)
        if fleet.target is not None:
            self._plan(fleet.look_every_s, self._look)

    def run(self) -> Seen:
        """What all requests met, until the last one is answered."""
        while self._events:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
        return self._seen

    def _plan(self, when: float, happen: Callable[[float], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, happen))

    def _plan_arrival(self, now: float) -> None:
        following = now + self._drawn.expovariate(self._most_per_s)
        if following < self._seconds:
            self._plan(following, self._arrive)

    def _arrive(self, now: float) -> None:
        self._plan_arrival(now)
        if self._drawn.random() >= self._rate_at(now) / self._most_per_s:
            return
        if not self._replicas:
            self._seen.failed.append(now)
            return
        one, other = self._drawn.choice(self._replicas), self._drawn.choice(self._replicas)
        chosen = one if one.load <= other.load else other
        if not chosen.alive:
            self._seen.failed.append(now)
        elif chosen.load >= self._fleet.queue:
            self._seen.refused.append(now)
        else:
            chosen.waiting.append(now)
            if not chosen.running:
                self._begin(now, chosen)

    def _begin(self, now: float, replica: _Replica) -> None:
        size = min(len(replica.waiting), self._curve.largest)
        replica.running = [replica.waiting.popleft() for _ in range(size)]
        self._plan(now + self._curve(size), lambda end: self._answer(end, replica))

    def _answer(self, now: float, replica: _Replica) -> None:
        if not replica.alive:
            return
        self._seen.latencies_s += [(due, now - due) for due in replica.running]
        replica.running = []
        if replica.waiting:
            self._begin(now, replica)

    def _die(self, now: float) -> None:
        alive = [each for each in self._replicas if each.alive]
        if not alive:
            return
        dead = self._drawn.choice(alive)
        self._seen.failed += [now] * dead.load
        dead.alive = False
        dead.running = []
        dead.waiting.clear()
        self._plan(now + self._fleet.notice_s, lambda later: self._notice(later, dead))
        self._starting += 1
        self._plan(now + self._fleet.start_s, self._start)

    def _notice(self, now: float, dead: _Replica) -> None:
        self._replicas.remove(dead)
        self._seen.sizes.append((now, len(self._replicas)))

    def _start(self, now: float) -> None:
        self._starting -= 1
        self._replicas.append(_Replica())
        self._seen.sizes.append((now, len(self._replicas)))

    def _look(self, now: float) -> None:
        assert self._fleet.target is not None
        alive = [each for each in self._replicas if each.alive]
        wanted = min(ceil(sum(each.load for each in alive) / self._fleet.target), self._fleet.most)
        for _ in range(wanted - len(alive) - self._starting):
            self._starting += 1
            self._plan(now + self._fleet.start_s, self._start)
        if now + self._fleet.look_every_s < self._seconds:
            self._plan(now + self._fleet.look_every_s, self._look)
