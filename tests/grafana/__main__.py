"""Checks the dashboards against Grafana's types: ``python -m tests.grafana PACKAGES`` (``make grafana-schema``).

``PACKAGES`` is the directory of ``@grafana/schema`` and ``typescript`` (package-lock.json). Each file of
deploy/grafana/dashboards is compiled as a constant of the type in dashboard.ts. So are faulty ones, which must be
refused by the name of their fault. Grafana itself is in no package of Debian, PyPI or npm. Ends with 1 if something is
wrong.
"""

import copy
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.grafana.generate import DIRECTORY
from tests.support.service import ROOT

HERE = Path(__file__).parent
Change = Callable[[dict[str, Any]], object]
# What is wrong, how it gets into a dashboard, and a part of the message about it.
FAULTS: list[tuple[str, Change, str]] = [
    ("a name that Grafana does not have", lambda d: d.update(refreshh="10s"), "'\"refreshh\"' does not exist"),
    ("a name in a chart", lambda d: d["panels"][0].update(titel="x"), "'\"titel\"' does not exist"),
    ("a name in a query", lambda d: d["panels"][0]["targets"][0].update(exprr="x"), "'\"exprr\"' does not exist"),
    ("a value that is missing", lambda d: d["panels"][0]["options"].pop("legend"), "'legend' is missing"),
    ("a place that does not exist", lambda d: d["panels"][0]["options"]["legend"].update(placement="top"), '"top"'),
    ("a text for a number", lambda d: d["panels"][0]["gridPos"].update(w="8"), "'string' is not assignable"),
    ("another kind of chart", lambda d: d["panels"][0].update(type="graph"), '"graph"'),
]


def main(packages: Path) -> int:
    """The exit code."""
    dashboards = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))}
    wrong = 0
    for name, dashboard in dashboards.items():
        messages = faults(dashboard, packages)
        wrong += messages != ""
        print(f"{name}: {messages or 'is what Grafana expects'}", flush=True)  # noqa: T201
    for what, change, message in FAULTS:
        faulty = copy.deepcopy(dashboards["model"])
        change(faulty)
        is_found = message in faults(faulty, packages)
        wrong += not is_found
        print(f"{what}: {'is found' if is_found else 'IS NOT FOUND'}", flush=True)  # noqa: T201
    return int(wrong > 0)


def faults(dashboard: dict[str, Any], packages: Path) -> str:
    """What the compiler says about a dashboard; empty: it is as it should be."""
    with tempfile.TemporaryDirectory(dir=packages) as directory:
        place = Path(directory)
        for name in ("dashboard.ts", "tsconfig.json"):
            shutil.copy(HERE / name, place)
        constant = f"const it: Dashboard = {json.dumps(dashboard, indent=1)};"
        (place / "it.ts").write_text(f'import type {{ Dashboard }} from "./dashboard";\n{constant}\n', encoding="utf-8")
        compiler = [packages / "node_modules/.bin/tsc", "--project", place]
        return subprocess.run(compiler, capture_output=True, text=True, check=False, cwd=ROOT).stdout


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
