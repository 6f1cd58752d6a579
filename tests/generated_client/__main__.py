"""Generates a client from the OpenAPI document and uses it: ``python -m tests.generated_client BIN``.

``BIN`` is the directory of programs of an environment with openapi-python-client; ``make generated-client`` calls it.
Ends with 1 if the client cannot be generated, does not compile, or gets another answer than it should.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.service import ROOT, Service


def main(programs: Path) -> int:
    """The exit code."""
    service = Service(ROOT / "models")
    try:
        with tempfile.TemporaryDirectory() as place:
            config = Path(place, "config.yaml")
            config.write_text("post_hooks: []\n", encoding="utf-8")
            target = Path(place, "client")
            generate = [programs / "openapi-python-client", "generate", "--url", f"{service.url}/openapi.json"]
            made = subprocess.run(
                [*generate, "--output-path", target, "--config", config], capture_output=True, text=True, check=False
            )
            if made.returncode:
                print(made.stdout, made.stderr)  # noqa: T201
                return 1
            use = [programs / "python", Path(__file__).with_name("use.py"), service.url]
            return subprocess.run(use, cwd=target, check=False).returncode
    finally:
        service.stop()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
