"""schemathesis against the OpenAPI document of a service: ``python -m tests.contract SCHEMATHESIS [OPTION...]``.

The service serves a copy of the published models, for promotions write next to them. Ends with 1 if one of the runs,
one for each model and one for a name that no model has, finds anything.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.service import ROOT, Service

CONFIG = Path(__file__).parent / "schemathesis.toml"
NO_MODEL = "nothing"


def main(schemathesis: str, *options: str) -> int:
    """The number of runs with findings."""
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        models = Path(place) / "models"
        shutil.copytree(ROOT / "models", models)
        service = Service(models)
        try:
            for model in [NO_MODEL, *sorted(path.name for path in models.iterdir())]:
                command = [
                    os.path.abspath(schemathesis),
                    "--config-file",
                    str(CONFIG),
                    "run",
                    f"{service.url}/openapi.json",
                ]
                fixed = ["--checks", "all", "--continue-on-failure", "--generation-deterministic"]
                print(f"schemathesis, model {model}", flush=True)  # noqa: T201
                failed += subprocess.run(
                    [*command, *fixed, *options], env={**os.environ, "MODEL": model}, cwd=place, check=False
                ).returncode
        finally:
            service.stop()
    if "Traceback" in service.log:
        print(service.log)  # noqa: T201
        failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
