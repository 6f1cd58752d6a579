"""Installs the wheel into an empty environment and uses it: ``python -m tests.wheel ENVIRONMENT``; ``make test-wheel``.

``ENVIRONMENT`` is a virtual environment with the wheel. The working directory has an ``app.py`` and a ``training.py``
of its own: they must stay those of the user, and the commands must not read them. Ends with 1 if a check fails.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.service import ROOT
from tests.wheel.installed import Installed
from tests.wheel.uses import USES


def main(environment: Path) -> int:
    """The exit code: 1 if a check fails."""
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for name in ("fashion-mnist-mlp", "fashion-mnist-cnn"):
            shutil.copytree(ROOT / "models" / name, place / "models" / name)
        for name in ("app", "training"):
            (place / f"{name}.py").write_text(f'NAME = "{name}"\n')
        installed = Installed(environment.absolute() / "bin", place)
        for use in USES:
            begun = time.monotonic()
            try:
                use(installed)
                result = "passes"
            except (AssertionError, subprocess.SubprocessError) as error:
                failed += 1
                result = f"FAILS: {error}"
            print(f"{use.__doc__}: {result}, {time.monotonic() - begun:.1f} s", flush=True)  # noqa: T201
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
