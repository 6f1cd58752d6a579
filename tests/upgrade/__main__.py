"""An older release, this one, and the older one again: ``python -m tests.upgrade``; ``make test-upgrade`` calls it.

All three serve the same models directory, with the same keys and state. Answers, labels and recordings must remain,
also after this release has promoted a version; and this one must have all commands, options, routes and metrics of the
older one. That is the last tag; as long as there is none, a revision of the days before. Ends with 1 if something is
missing, and with 0 and a sentence in a checkout without that revision.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.service import ROOT, Service
from tests.support.tiny_models import SIDE, write_brightness_model
from tests.upgrade.release import Release, metrics, routes

BEFORE = "f45924c1b732c3adff773271b2994b65591fa73b"
IMAGE = {"Content-Type": "application/octet-stream"}
# Its two versions differ about this grey.
GREY = bytes([129]) * SIDE * SIDE
STABLE, CANARY = "brightness/labels/stable:predict", "brightness/labels/canary:predict"
# Four histograms of BEFORE are sums and counts since then, unless this asks for them.
SAME_METRICS = {"ATELIER_METRICS_HISTOGRAMS": "all"}
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "fashion-mnist-mlp:predict": ((ROOT / "docs/examples/boot.json").read_bytes(), {}),
    "imdb-sentiment-lstm:predict": (json.dumps({"instances": ["a film that nobody needs"]}).encode(), {}),
    STABLE: (GREY, IMAGE),
    CANARY: (GREY, IMAGE),
}
POLICY = {
    "version_labels": {"stable": 1, "canary": 2},
    "rollout": {"canary": {"percent": 20}},
    "recording": {},
    "batching": {"max_batch_size": 16},
}


def main() -> int:
    """The exit code."""
    revision = _git("describe", "--tags", "--abbrev=0") or BEFORE
    if not _git("rev-parse", "--verify", f"{revision}^{{commit}}"):
        print(f"test-upgrade is skipped: this checkout has no revision {revision}")  # noqa: T201
        return 0
    with tempfile.TemporaryDirectory() as directory:
        old = Release.of(revision, Path(directory, "old"))
        wrong = _missing(old, Release(ROOT), Path(directory))
    print("\n".join(wrong) or f"{revision[:12]}, this release, and back: the same answers, nothing is missing")  # noqa: T201
    return int(wrong != [])


def _git(*arguments: str) -> str:
    ended = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.stdout.strip() if ended.returncode == 0 else ""


def _missing(old: Release, new: Release, place: Path) -> list[str]:
    """What went wrong, in lines."""
    models, state, keys = place / "models", str(place / "state"), place / "keys.json"
    shutil.copytree(old.root / "models", models)
    for version in (1, 2):
        write_brightness_model(models, version=version, bias=version)
    policy = models / "brightness/serving.json"
    policy.write_text(json.dumps(POLICY), encoding="utf-8")
    key = old.run("keys", "new", "--name", "client", "--file", str(keys)).split()[-1]

    def serve(
        release: Release, names: Iterable[str] = BODIES, **variables: str
    ) -> tuple[dict[str, Any], dict[str, set[str]]]:
        service = release.service(models, "--api-keys-file", str(keys), ATELIER_STATE_DIR=state, **variables)
        try:
            answers = {name: _answer(service, name, key) for name in names}
            return answers, {"route": routes(service), "metric": metrics(service)}
        finally:
            assert service.stop() == 0, service.log

    before, had = serve(old)
    after, has = serve(new, **SAME_METRICS)
    had["option"], has["option"] = old.options(), new.options()
    new.run("promote", "brightness", "2", "--models-dir", str(models))
    expected = {**before, STABLE: before[CANARY]}
    del expected[CANARY]  # what is stable is no canary
    promoted, _ = serve(old, expected)
    recorded = old.run("recordings", ATELIER_STATE_DIR=state)
    old.run("rollback", "brightness", "--models-dir", str(models))
    stable = json.loads(policy.read_text(encoding="utf-8"))["version_labels"]["stable"]
    return [
        *(f"{kind} {name} is missing" for kind in had for name in sorted(had[kind] - has[kind])),
        *(f"another answer than before: {name}" for name in BODIES if after[name] != before[name]),
        *(f"another answer after the return: {name}" for name in expected if promoted[name] != expected[name]),
        *(["the versions do not differ"] if before[STABLE] == before[CANARY] else []),
        *([f"not 5 recorded instances: {recorded}"] if not re.search(r"instances +5,", recorded) else []),
        *([f"the older release rolls back to {stable}, not to 1"] if stable != 1 else []),
    ]


def _answer(service: Service, name: str, key: str) -> Any:
    body, headers = BODIES[name]
    headers = {**headers, "Authorization": f"Bearer {key}"}
    reply = service.client.post(f"/v1/models/{name}", content=body, headers=headers)
    assert reply.status_code == 200, f"{name}: {reply.status_code} {reply.text}\n{service.log}"
    assert service.client.post(f"/v1/models/{name}", content=body).status_code == 401
    return reply.json()


if __name__ == "__main__":
    sys.exit(main())
