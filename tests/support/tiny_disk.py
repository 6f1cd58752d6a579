"""Versions on disk that consist of a manifest, and fakes of the loaded versions."""

import json
from pathlib import Path
from types import SimpleNamespace

from app.errors import VersionRefused
from app.loaded import Leases
from app.repository.policy import ServingPolicy


def write_empty_versions(models: Path, *versions: int, name: str = "m") -> Path:
    """Directories that are scanned as versions; the model's directory."""
    for version in versions:
        directory = models / name / str(version)
        directory.mkdir(parents=True)
        (directory / "manifest.json").write_text("{}")
    return models / name


def write_settings(directory: Path, policy: ServingPolicy) -> None:
    """serving.json of a model."""
    (directory / "serving.json").write_text(policy.model_dump_json(exclude_unset=True))


def read_settings(directory: Path) -> dict:
    """serving.json of a model as it is in the file."""
    return json.loads((directory / "serving.json").read_text())


class FakeLoader:
    """Loads versions of any directory, except those in ``refused``; remembers which in ``loads``."""

    def __init__(self, *refused):
        self.refused, self.loads = set(refused), []

    def __call__(self, name, version, policy):
        self.loads.append(version)
        if version in self.refused:
            raise VersionRefused("golden row 0 differs")
        model = SimpleNamespace(
            name=name,
            version=version,
            load_settings=policy.load_settings,
            leases=Leases(),
            admission=SimpleNamespace(draining=False),
            batcher=SimpleNamespace(stop=lambda error: None, close=lambda: None),
            instances=SimpleNamespace(devices=["cpu"], reason="a fake", usable=1, problem=""),
            memory_bytes=0,
            memory_is_measured=True,
            provider="fake",
            golden_difference=0.0,
            unverified="",
            curve=SimpleNamespace(seconds=[0.0]),
        )
        model.with_signatures = (model,)
        return model
