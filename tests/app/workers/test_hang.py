"""How long a worker waits for a call that does not return."""

from app.workers.hang import REPLACE_AFTER_S, Hang
from tests.support.fakes import FakeClock


def test_a_hang_is_final_once_it_has_lasted_without_a_pause():
    clock = FakeClock()
    hang = Hang(clock)
    assert not hang.is_final(hangs=True)
    clock.now += REPLACE_AFTER_S - 1
    assert not hang.is_final(hangs=True)
    assert not hang.is_final(hangs=False)
    clock.now += REPLACE_AFTER_S
    assert not hang.is_final(hangs=True)
    clock.now += REPLACE_AFTER_S
    assert hang.is_final(hangs=True)
