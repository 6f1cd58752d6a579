"""The application that is built after the start."""

import asyncio
import subprocess
import sys
import time

import pytest

from app.wiring.late import LateApplication


async def answered(scope, receive, send):
    await send(scope["path"])


def test_it_is_built_once_though_many_call_it_at_the_same_time():
    builds, sent = [], []

    def build():
        builds.append(1)
        time.sleep(0.1)
        return answered

    async def send(message):
        sent.append(message)

    async def act():
        late = LateApplication(build)
        await asyncio.gather(*(late({"path": number}, None, send) for number in range(20)))

    asyncio.run(act())
    assert builds == [1]
    assert sorted(sent) == list(range(20))


def test_the_event_loop_runs_while_it_is_built():
    async def act():
        late = LateApplication(lambda: time.sleep(0.5) or answered)
        building = asyncio.create_task(late.built())
        turns = 0
        while not building.done():
            await asyncio.sleep(0.01)
            turns += 1
        return turns

    assert asyncio.run(act()) > 5


def test_the_next_call_tries_again_after_a_failure():
    failures = [ImportError("no FastAPI")]

    def build():
        if failures:
            raise failures.pop()
        return answered

    async def act():
        late = LateApplication(build)
        with pytest.raises(ImportError, match="no FastAPI"):
            await late.built()
        assert await late.built() is answered

    asyncio.run(act())


def test_what_starts_the_service_does_not_import_fastapi():
    modules = "app.main, app.wiring.server, app.commands.serve, app.workers.process"
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys, {modules}; print([m for m in ('fastapi', 'starlette') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "[]"
