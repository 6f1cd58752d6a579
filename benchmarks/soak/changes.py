"""Changes in the models directory during a soak: new versions, and canaries moved, promoted and given up."""

import json
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.soak.service import Service

BROKEN_VERSION_ERROR = r"version \d+ refused: \S+/model\.onnx: \d+ bytes, the manifest says"
"""The log line of ``Changes.publish_broken``."""


class Changes:
    """Changes one model after the other, step by step. All versions contain the same network, so answers do not change.

    Args:
        service: receives the commands to load.
        models: its models directory.
        sources: a published version of each model, outside of ``models``.

    Attributes:
        done: kind of step -> count.
        failed: failures, in words.
    """

    def __init__(self, service: Service, models: Path, sources: Sequence[Path]) -> None:
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self._service, self._models = service, models
        self._sources = {source.parent.name: source for source in sources}
        self._versions = {source.parent.name: int(source.name) for source in sources}

    def run(self, ended: threading.Event, *, every_s: float) -> None:
        """Take a step every ``every_s`` until ``ended``; a failure is recorded, and the next step is taken."""
        while not ended.is_set():
            try:
                for step in self.steps():
                    self.done[step] += 1
                    if ended.wait(every_s):
                        return
            except (OSError, RuntimeError) as error:
                self.failed.append(str(error))
                ended.wait(every_s)

    def steps(self) -> Iterator[str]:
        """All steps once for every model; yields the name of each."""
        for turn, name in enumerate(self._sources):
            yield self.replace(name)
            yield self.change_settings(name)
            yield self.publish_broken(name)
            yield from self._try_canary(name, promotes=turn % 2 == 0)
            yield self.replace(name)

    def replace(self, name: str) -> str:
        """Publish the next version, load it, and remove the previous one."""
        version = self._publish(name)
        self._load(name)
        shutil.rmtree(self._models / name / str(version - 1))
        return "version replaced"

    def change_settings(self, name: str) -> str:
        """Change the queue limit: the same version is loaded with it and replaces the old one."""
        self._write_policy(name, {"batching": {"max_queue_rows": 4000 + self.done["settings changed"] % 2}})
        self._load(name)
        return "settings changed"

    def publish_broken(self, name: str) -> str:
        """Publish a version whose graph differs from its manifest: it must be refused."""
        version = self._versions[name] + 1
        folder = self._models / name / str(version)
        staged = self._stage(name)
        with (staged / "model.onnx").open("ab") as file:
            file.write(b"x")
        staged.rename(folder)
        status, _ = self._service.post(f"/v2/repository/models/{name}/load")
        shutil.rmtree(folder)
        if status == 200:
            raise RuntimeError(f"a broken version of {name} was loaded")
        self._load(name)
        return "broken version refused"

    def _try_canary(self, name: str, *, promotes: bool) -> Iterator[str]:
        stable = self._versions[name]
        canary = self._publish(name)
        self._roll_out(name, stable, canary, percent=10)
        yield "canary begun"
        self._roll_out(name, stable, canary, percent=60)
        yield "canary moved"
        if promotes:
            self._service.must_post(f"/v2/repository/models/{name}/promote", {"version": canary})
            yield "canary promoted"
            self._service.must_post(f"/v2/repository/models/{name}/rollback")
            yield "promotion rolled back"
        else:
            self._write_policy(name, {"version_labels": {"stable": stable}})
            self._load(name)
            yield "canary given up"
        self._write_policy(name, {})
        self._load(name)
        shutil.rmtree(self._models / name / str(stable))

    def _roll_out(self, name: str, stable: int, canary: int, *, percent: int) -> None:
        rollout = {"canary": {"percent": percent}, "shadow": {"percent": 20}}
        self._write_policy(name, {"version_labels": {"stable": stable, "canary": canary}, "rollout": rollout})
        self._load(name)

    def _publish(self, name: str) -> int:
        self._versions[name] += 1
        self._stage(name).rename(self._models / name / str(self._versions[name]))
        return self._versions[name]

    def _stage(self, name: str) -> Path:
        staged = self._models / name / ".staged"
        shutil.rmtree(staged, ignore_errors=True)
        shutil.copytree(self._sources[name], staged)
        return staged

    def _write_policy(self, name: str, policy: dict[str, object]) -> None:
        staged = self._models / name / ".serving.staged"
        staged.write_text(json.dumps(policy), encoding="utf-8")
        staged.rename(self._models / name / "serving.json")

    def _load(self, name: str) -> None:
        self._service.must_post(f"/v2/repository/models/{name}/load")
