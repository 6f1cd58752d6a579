"""A models directory with many copies of a small model: the cost of loaded models for the one in use."""

import json
import os
import shutil
from pathlib import Path

MODELS, VERSIONS = 20, (1, 2)
FIRST = "copy-00"


def build(version: Path, directory: Path) -> Path:
    """Fill ``directory`` with copies of ``version``; files that do not contain the name are linked, not copied."""
    from app.contract.manifest import write_manifest

    shutil.rmtree(directory, ignore_errors=True)
    for number in range(MODELS):
        name = f"copy-{number:02}"
        for copy in VERSIONS:
            target = directory / name / str(copy)
            shutil.copytree(version, target, copy_function=os.link)
            spec = json.loads((version / "model.json").read_text(encoding="utf-8")) | {"name": name}
            for own in ("model.json", "manifest.json"):
                (target / own).unlink()  # never write through the link
            (target / "model.json").write_text(json.dumps(spec, indent=2) + "\n", encoding="utf-8")
            write_manifest(target)
        policy = {"version_policy": {"latest": {"num_versions": len(VERSIONS)}}}
        (directory / name / "serving.json").write_text(json.dumps(policy) + "\n", encoding="utf-8")
    return directory
