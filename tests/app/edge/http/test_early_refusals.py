"""Refusals from the head alone: what decides, and how long one is repeated."""

from types import SimpleNamespace

import pytest

from app.edge.call import Route
from app.edge.http.early_refusals import VALID_S, EarlyRefusals
from app.errors import DeadlineOutOfReach
from tests.support.fakes import FakeClock

ROUTE = Route("v1", "m", None, None, "predict", "v1:predict", is_inference=True)
NEEDED_S = 0.15


class Model:
    """A model with a timeout of 0.2 s whose queue takes ``NEEDED_S``, if something waits in it."""

    name = "m"
    default_timeout_s = 0.2

    def __init__(self):
        self.admission = SimpleNamespace(rows=1, turnover=0)
        self.asked = 0
        self.batcher = self
        self.rules = SimpleNamespace(default_priority_level=1)

    def check_open(self, *, level, left_s):
        self.asked += 1
        if self.admission.rows and left_s < NEEDED_S:
            raise DeadlineOutOfReach("too late", retry_after_s=1)


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def refusals(model, clock):
    registry = SimpleNamespace(default=lambda name: model, rollout=lambda name: None)
    counted = SimpleNamespace(request_done=lambda **_: None)
    return EarlyRefusals(registry=registry, observer=counted, clock=clock)


def test_a_request_that_has_waited_has_less_time_left(refusals, clock):
    assert refusals.of(ROUTE, clock()) is None
    assert refusals.of(ROUTE, clock() - 0.04) is None
    assert refusals.of(ROUTE, clock() - 0.06).status == 429


def test_one_that_has_waited_longer_gets_the_same_refusal_and_one_that_has_not_is_examined(refusals, model, clock):
    first = refusals.of(ROUTE, clock() - 0.06)
    assert refusals.of(ROUTE, clock() - 0.07) is first
    assert model.asked == 1
    assert refusals.of(ROUTE, clock() - 0.01) is None
    clock.now += 2 * VALID_S
    assert refusals.of(ROUTE, clock() - 0.07) is not first


def test_a_request_after_its_deadline_is_refused_even_by_an_empty_queue(refusals, model, clock):
    model.admission.rows = 0
    assert refusals.of(ROUTE, clock() - 0.19) is None
    reply = refusals.of(ROUTE, clock() - 0.21)
    assert reply.status == 429
    assert b"the timeout of 200 ms passed before the request was read" in reply.body
