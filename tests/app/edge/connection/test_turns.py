import asyncio

import pytest

from app.edge.connection.turns import ACCEPTS, INFERENCE_TURN_S, TURN_S, Turns

pytestmark = pytest.mark.anyio
HEALTH = b"GET /v2/health/live HTTP/1.1\r\n\r\n"
OTHER = b"POST /v2/models/m/generate_stream HTTP/1.1\r\n"
INFERENCE = b"POST /v1/models/m:predict HTTP/1.1\r\n"


class Reader:
    """A connection that records when it reads, among all of them."""

    def __init__(self, turns, order, *, costs_s=0.0):
        self.turns, self.order, self.costs_s = turns, order, costs_s

    def receive(self, data=OTHER):
        loop = asyncio.get_running_loop()
        if self.turns.must_wait(data, loop):
            self.turns.wait(self, data, loop)
        else:
            self.read_on()

    def read_on(self):
        self.order.append(self)
        self.turns.spend(self.costs_s)


def readers(count, *, costs_s=2 * TURN_S):
    """Connections that each need a whole turn, and the order in which they read."""
    order, turns = [], Turns()
    return [Reader(turns, order, costs_s=costs_s) for _ in range(count)], order


async def next_turn():
    await asyncio.sleep(0)


async def test_connections_read_immediately_while_the_turn_has_time():
    them, order = readers(3, costs_s=0)
    for reader in them:
        reader.receive()
    assert order == them


async def test_the_others_read_in_the_next_turns_in_order_of_arrival():
    them, order = readers(4)
    for reader in them[:3]:
        reader.receive()
    assert order == them[:1]
    await next_turn()
    assert order == them[:2]
    them[3].receive()  # behind the third, which still waits
    for _ in range(3):
        await next_turn()
    assert order == them


async def test_a_health_check_reads_before_those_that_wait():
    them, order = readers(3)
    them[0].receive()
    them[1].receive()
    them[2].receive(HEALTH)
    assert order == [them[0], them[2]]


async def test_a_request_after_a_health_check_waits_with_it():
    them, order = readers(2)
    them[0].receive()
    them[1].receive(HEALTH + OTHER)
    assert order == them[:1]


@pytest.mark.parametrize("path", [b"/v2/health/", b"/v2/health/no", b"/livez/x", b"/healthzz", b"/v2/health/live?x"])
async def test_other_paths_below_those_of_health_checks_wait(path):
    them, order = readers(2)
    them[0].receive()
    them[1].receive(b"GET %b HTTP/1.1\r\n\r\n" % path)
    assert order == them[:1]


async def test_connections_get_turns_in_the_order_of_their_requests():
    them, order = readers(3)
    loop = asyncio.get_running_loop()
    for reader in them:
        reader.turns.wait(reader, OTHER, loop)
    assert order == []
    for _ in range(3):
        await next_turn()
    assert order == them


async def test_after_a_quiet_turn_a_connection_reads_immediately():
    them, order = readers(2)
    them[0].receive()
    await next_turn()
    await next_turn()
    them[1].receive()
    assert order == them


async def test_while_connections_are_accepted_only_health_checks_read():
    them, order = readers(2)
    loop = asyncio.get_running_loop()
    turns = them[0].turns
    turns.accepted(loop)
    them[1].receive()
    for _ in range(ACCEPTS - 2):
        them[0].receive(HEALTH)
        await next_turn()
        turns.accepted(loop)
    assert order == [them[0]] * (ACCEPTS - 2)
    await next_turn()
    await next_turn()
    assert order[-1] is them[1]


async def test_endless_new_connections_leave_turns_to_requests():
    them, order = readers(2)
    loop = asyncio.get_running_loop()
    turns = them[0].turns
    turns.accepted(loop)
    for reader in them:
        reader.receive()
    for _ in range(2 * ACCEPTS + 2):
        await next_turn()
        turns.accepted(loop)
    assert order == them


@pytest.mark.parametrize("path", [b"/v1/models/m:predict", b"/v1/models/m/versions/2:classify", b"/v2/models/m/infer"])
async def test_new_connections_do_not_take_precedence_over_inference(path):
    """Under overload a client opens connections because others wait, and would open more the longer they wait."""
    them, order = readers(3, costs_s=0)
    turns = them[0].turns
    turns.accepted(asyncio.get_running_loop())
    them[0].receive(OTHER)
    them[1].receive(b"POST %b HTTP/1.1\r\n" % path)
    assert order == them[1:2]


async def test_inference_has_its_own_turn_and_leaves_part_of_it_to_others():
    them, order = readers(6, costs_s=INFERENCE_TURN_S)
    for reader, data in zip(them, (INFERENCE, INFERENCE, OTHER, INFERENCE, OTHER, INFERENCE), strict=True):
        reader.receive(data)
    assert order == them[:1]
    for _ in range(8):
        await next_turn()
    assert set(order) == set(them)
    assert order.index(them[2]) < order.index(them[5])
    assert [each for each in order if each in (them[1], them[3], them[5])] == [them[1], them[3], them[5]]


async def test_a_turn_ends_with_a_rest_unless_connections_wait():
    rests = []
    turns = Turns(lambda: rests.append(len(order)))
    order = []
    them = [Reader(turns, order, costs_s=2 * TURN_S) for _ in range(2)]
    for reader in them:
        reader.receive()
    await next_turn()
    assert rests == []
    await next_turn()
    assert rests == [2]
    await next_turn()
    assert rests == [2], "a turn that read nothing does not rest"
