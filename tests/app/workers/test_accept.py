"""The worker with the fewest connections takes the next one."""

import asyncio
import socket
from contextlib import ExitStack

import pytest

from app.workers.accept import CLOSED, USELESS_PAUSE_S, Acceptor, ConnectionCounts
from tests.support.fakes import until


class Counting(asyncio.Protocol):
    """Counts its instances while they are connected."""

    def __init__(self, open_connections):
        self.open_connections = open_connections

    def connection_made(self, transport):
        self.open_connections.append(transport)


def test_connections_of_those_that_take_any_are_compared():
    counts = ConnectionCounts.make(3)
    assert counts.fewest(but=1) is None
    counts.set(1, 4)
    counts.set(2, 7)
    assert [counts.fewest(but=worker) for worker in (1, 2, 3)] == [7, 4, 4]
    counts.set(1, CLOSED)
    assert counts.fewest(but=2) is None
    same = ConnectionCounts(counts.descriptor, 3)
    same.set(3, 1)
    assert counts.fewest(but=2) == 1


async def connect(stack, address, number):
    loop = asyncio.get_running_loop()
    for _ in range(number):
        client = stack.enter_context(socket.socket())
        client.setblocking(False)
        await loop.sock_connect(client, address)


def test_a_worker_with_more_connections_leaves_new_ones_to_the_other_and_accepts_them_if_that_one_does_not():
    async def scenario():
        with ExitStack() as stack:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            counts = ConnectionCounts.make(2)
            counts.set(2, 0)  # another worker, which never gets its turn
            mine = []
            acceptor = Acceptor(listening, lambda: Counting(mine), worker=1, counts=counts, own=lambda: len(mine))
            await connect(stack, listening.getsockname(), 20)
            await until(lambda: len(mine) == 20)
            acceptor.close()
            assert counts.fewest(but=2) is None
            await connect(stack, listening.getsockname(), 1)
            await asyncio.sleep(0.05)
            assert len(mine) == 20
            for transport in mine:
                transport.close()
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_worker_that_cannot_answer_leaves_all_connections_to_the_others():
    async def scenario():
        with ExitStack() as stack:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            counts = ConnectionCounts.make(2)
            counts.set(2, 100)  # another worker, which never gets its turn
            mine, useful = [], []
            acceptor = Acceptor(
                listening,
                lambda: Counting(mine),
                worker=1,
                counts=counts,
                own=lambda: len(mine),
                is_useful=lambda: bool(useful),
            )
            assert counts.fewest(but=2) is None
            await connect(stack, listening.getsockname(), 3)
            await asyncio.sleep(3 * USELESS_PAUSE_S)
            assert not mine
            counts.set(2, CLOSED)
            await until(lambda: len(mine) == 3)
            assert counts.fewest(but=2) is None
            counts.set(2, 100)
            useful.append(True)
            await connect(stack, listening.getsockname(), 1)
            await until(lambda: len(mine) == 4)
            await until(lambda: counts.fewest(but=2) == 4)
            acceptor.close()
            for transport in mine:
                transport.close()
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_connection_that_has_its_protocol_is_counted_once():
    async def scenario():
        with ExitStack() as stack:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            counts = ConnectionCounts.make(2)
            mine, published = [], []

            class Following(Counting):
                def connection_made(self, transport):
                    super().connection_made(transport)
                    if len(mine) == 1:  # as if a second connection came now: this one is both, own and connecting
                        acceptor.tell()
                    published.append(counts.fewest(but=2))

            acceptor = Acceptor(listening, lambda: Following(mine), worker=1, counts=counts, own=lambda: len(mine))
            await connect(stack, listening.getsockname(), 1)
            await until(lambda: len(mine) == 1)
            assert published == [2], "while it has its protocol and still connects"
            await until(lambda: counts.fewest(but=2) == 1)
            acceptor.close()
            assert counts.fewest(but=2) is None
            mine[0].close()
            await asyncio.sleep(0)

    asyncio.run(scenario())


@pytest.mark.parametrize("others", [False, True])
def test_the_last_worker_that_closes_takes_the_connections_that_wait(others):
    async def scenario():
        with ExitStack() as stack:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            counts = ConnectionCounts.make(2)
            if others:
                counts.set(2, 5)
            mine = []
            acceptor = Acceptor(listening, lambda: Counting(mine), worker=1, counts=counts, own=lambda: len(mine))
            for _ in range(3):  # while the event loop does not run
                stack.enter_context(socket.create_connection(listening.getsockname()))
            acceptor.close()
            await acceptor.wait_closed()
            assert len(mine) == (0 if others else 3)
            assert counts.fewest(but=2) is None
            for transport in mine:
                transport.close()
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_two_workers_share_new_connections():
    async def scenario():
        with ExitStack() as stack:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            again = stack.enter_context(listening.dup())
            counts = ConnectionCounts.make(2)
            taken = {1: [], 2: []}

            def acceptor(worker, sock):
                own = taken[worker]
                return Acceptor(sock, lambda: Counting(own), worker=worker, counts=counts, own=lambda: len(own))

            acceptors = [acceptor(1, listening), acceptor(2, again)]
            await connect(stack, listening.getsockname(), 40)
            await until(lambda: sum(map(len, taken.values())) == 40)
            for each in acceptors:
                each.close()
            for transport in [*taken[1], *taken[2]]:
                transport.close()
            await asyncio.sleep(0)
            assert min(map(len, taken.values())) >= 15

    asyncio.run(scenario())
