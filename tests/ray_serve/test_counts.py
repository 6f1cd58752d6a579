"""The sums over replicas; needs no Ray."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from app.telemetry.metrics import Metrics
from app.telemetry.process import OwnProcess
from app.telemetry.summed_metrics import SummedMetrics
from deploy.ray.counts import DIES_AFTER_S, Counts
from tests.support.fakes import FakeClock


class Replica:
    """Reports loads of a model."""

    def __init__(self, counts, name):
        self._counts, self._name = counts, name
        self._metrics, self._number = Metrics(), 0

    def newest(self, *, loads=0):
        for _ in range(loads):
            self._metrics.load_done("a", True, 0.5)
        self._number += 1
        return self._name, {
            "number": self._number,
            "metrics": self._metrics.snapshot(),
            "process": OwnProcess().snapshot(),
        }

    def reports(self, *, loads=0):
        asyncio.run(self._counts.heard(*self.newest(loads=loads)))

    def ends(self, *, loads=0):
        asyncio.run(self._counts.ended(*self.newest(loads=loads)))

    def total(self, name="atelier_model_loads_total", **labels):
        """A sample of what this replica answers to a scrape."""
        registry = CollectorRegistry()
        registry.register(SummedMetrics(asyncio.run(self._counts.total(*self.newest()))))
        if name == "atelier_model_loads_total":
            labels = {"model": "a", "result": "ready"}
        return registry.get_sample_value(name, labels)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def counts(clock):
    return Counts(clock)


def test_every_replica_answers_a_scrape_with_the_sum(counts):
    first, second = Replica(counts, "x"), Replica(counts, "y")
    first.reports(loads=2)
    second.reports(loads=3)
    assert first.total() == second.total() == 5
    assert first.total("atelier_workers") == 2


def test_what_a_replica_counted_stays_when_it_ends(counts):
    first, second = Replica(counts, "x"), Replica(counts, "y")
    first.reports(loads=2)
    second.reports(loads=3)
    first.ends(loads=1)
    assert second.total() == 6
    assert second.total("atelier_workers") == 1


def test_a_silent_replica_no_longer_serves_and_its_successor_counts_as_a_restart(counts, clock):
    silent, other = Replica(counts, "x"), Replica(counts, "y")
    silent.reports(loads=2)
    clock.now += DIES_AFTER_S + 1
    assert other.total() == 2
    assert other.total("atelier_workers") == 1
    assert other.total("atelier_worker_restarts_total") == 0
    Replica(counts, "z").reports(loads=1)
    assert other.total() == 3
    assert other.total("atelier_worker_restarts_total") == 1
    assert other.total("atelier_worker_requests_total", worker="3") is None


def test_a_replica_that_was_taken_for_dead_is_not_counted_twice(counts, clock):
    stalled, other = Replica(counts, "x"), Replica(counts, "y")
    stalled.reports(loads=2)
    clock.now += DIES_AFTER_S + 1
    assert other.total() == 2
    stalled.reports(loads=1)
    assert other.total() == 2


def test_a_replica_that_ends_and_one_that_takes_its_place_are_no_restart(counts):
    first, second = Replica(counts, "x"), Replica(counts, "y")
    first.reports(loads=2)
    first.ends()
    second.reports(loads=1)
    assert second.total() == 3
    assert second.total("atelier_worker_restarts_total") == 0
