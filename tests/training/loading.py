"""Loads a published version as the service does, and frees it again."""

import time
from pathlib import Path

from app.lifecycle.loading.loader import Loader
from app.loaded import LoadedModel
from app.repository.places import Places
from app.runtime.engines.onnx import OnnxBackend
from tests.support.fakes import Observed


def loader(models: Path) -> Loader:
    """A loader that runs nothing on the event loop."""
    return Loader(
        places=Places(models),
        make_backend=OnnxBackend,
        threads=1,
        observer_for=lambda name, version: Observed(),
        inline_below_s=0.0,
        pixel_limit=1_000_000,
        clock=time.perf_counter,
    )


def load(models: Path, name: str, version: int = 1) -> LoadedModel:
    loaded = loader(models).load(name, version)
    loaded.batcher.close()
    return loaded
