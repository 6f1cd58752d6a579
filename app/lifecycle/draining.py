"""The end of all queues when the process stops."""

import asyncio

from app.lifecycle.registry import Registry
from app.loaded import LoadedModel


async def drain(registry: Registry, timeout_s: float) -> None:
    """Accept no new work, finish waiting and running work within ``timeout_s``, fail the rest, close."""
    registry.start_draining()
    for model in _queues(registry):
        model.admission.draining = True
    waiting = [asyncio.ensure_future(model.batcher.drained()) for model in _queues(registry)]
    if waiting:
        _, late = await asyncio.wait(waiting, timeout=timeout_s)
        for task in late:
            task.cancel()
    models = _queues(registry)
    for model in models:
        model.batcher.stop()
    await asyncio.gather(*(asyncio.to_thread(model.batcher.close) for model in models))


def fail_unfinished(registry: Registry) -> None:
    """Answer all waiting and running work with Draining."""
    for model in _queues(registry):
        model.admission.draining = True
        model.batcher.fail_unfinished()


def _queues(registry: Registry) -> list[LoadedModel]:
    """All models with a queue: every loaded version, and its other signatures."""
    return [each for model in registry.loaded() for each in model.with_signatures]
