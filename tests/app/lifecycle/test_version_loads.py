"""Loading and unloading of versions, with fakes of their parts."""

import asyncio
import threading
from types import SimpleNamespace

from app.lifecycle.registry import Registry
from app.lifecycle.version_loads import VersionLoads
from app.lifecycle.versions import State, VersionRecord
from app.loaded import Leases
from tests.support.fakes import FakeBackend, FakeClock, Observed, make_batcher, make_work
from tests.support.tiny_disk import FakeLoader


class WatchedLoop(asyncio.SelectorEventLoop):
    """Records which threads cancel its timers: only its own thread may."""

    def __init__(self):
        super().__init__()
        self.cancelling = []

    def _timer_handle_cancelled(self, handle):
        self.cancelling.append(threading.current_thread())
        super()._timer_handle_cancelled(handle)


def test_a_version_that_retires_ends_its_timers_on_the_event_loop():
    registry = Registry(scan=dict, on_state=lambda name, version, state: None)
    loads = VersionLoads(
        registry, SimpleNamespace(), load=FakeLoader(), load_timeout_s=60, on_load=lambda name, loaded, seconds: None
    )
    backend, clock = FakeBackend(), FakeClock()

    async def main():
        batcher = make_batcher(backend, clock=clock, observed=Observed())
        batcher.submit([work := make_work(asyncio.get_running_loop(), 1.0, now=clock.now)])
        await asyncio.wait_for(work.future, 10)  # the timer for a batch that hangs continues to run
        model = SimpleNamespace(
            version=1, leases=Leases(), batcher=batcher, admission=SimpleNamespace(draining=False), memory_bytes=0
        )
        model.with_signatures = (model,)
        record = VersionRecord(1, State.READY, model=model)
        await loads.retire("tiny", record, "unloaded", timeout_s=1.0)
        assert (record.state, record.reason, model.admission.draining) == (State.UNAVAILABLE, "unloaded", True)
        assert set(asyncio.get_running_loop().cancelling) == {threading.current_thread()}

    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        runner.run(main())
    assert backend.closed
