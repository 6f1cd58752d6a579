"""What the service is made of: ``make sbom`` and ``make audit``.

    python deploy/supply_chain.py sbom ENVIRONMENT.json   # CycloneDX of the environment, as cyclonedx-py writes it
    python deploy/supply_chain.py audit REPORT.json       # as pip-audit writes it

``sbom`` writes build/sbom.json, the components of the service alone, and docs/reference/licences.md.
"""

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SETS = {"serve": "Service", "train": "Training, on top", "dev": "Development, on top"}
# Whose metadata name no licence; by the texts that they come with.
BY_TEXT = {"namex": "Apache-2.0", "pysimdjson": "MIT"}
NOT_CHECKED = 3
HEAD = """# Licences

Written by `make sbom`; do not edit. Atelier itself is under the Apache License 2.0 (`LICENSE`). What the locks in
`requirements/` name, as installed on Linux with CPython; what has no version here is for other systems only.
"""


def main(command: str, path: str) -> int:
    """Run one command; its exit code."""
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    return audit(document) if command == "audit" else sbom(document)


def sbom(document: dict[str, Any]) -> int:
    """Keep the service's components, and list the licences of all."""
    components = {_name(each["name"]): each for each in document["components"]}
    served = _locked("serve")
    kept = [each for name, each in components.items() if name in served]
    names = {each["bom-ref"] for each in kept}
    depends = [
        {**each, "dependsOn": [other for other in each.get("dependsOn", []) if other in names]}
        for each in document.get("dependencies", [])
        if each["ref"] in names
    ]
    (ROOT / "build").mkdir(exist_ok=True)
    target = ROOT / "build/sbom.json"
    target.write_text(json.dumps({**document, "components": kept, "dependencies": depends}, indent=1), encoding="utf-8")
    lines, listed = [HEAD], set()
    for lock, title in SETS.items():
        lines += [f"## {title} (`requirements/{lock}.txt`)", "", "| package | version | licence |", "|---|---|---|"]
        for name in sorted(_locked(lock) - listed):
            component = components.get(name)
            version = "" if component is None else component["version"]
            lines.append(f"| {name} | {version} | {'' if component is None else _licence(component)} |")
        listed |= _locked(lock)
        lines.append("")
    licences = ROOT / "docs/reference/licences.md"
    licences.write_text("\n".join(lines), encoding="utf-8")
    written = f"{target.relative_to(ROOT)}; licences: {licences.relative_to(ROOT)}"
    sys.stdout.write(f"{len(kept)} components of the service: {written}\n")
    return 0


def audit(report: dict[str, Any]) -> int:
    """Say what pip-audit found, and what it could not look up, which it counts as clean."""
    found = [each for each in report["dependencies"] if each.get("vulns")]
    unknown = [each["name"] for each in report["dependencies"] if "skip_reason" in each]
    for each in found:
        for vulnerability in each["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version"
            sys.stdout.write(f"{each['name']} {each['version']}: {vulnerability['id']}; fixed in {fixed}\n")
    checked = len(report["dependencies"]) - len(unknown)
    sys.stdout.write(f"{checked} packages checked, {len(found)} with known vulnerabilities\n")
    if unknown:
        sys.stdout.write(f"NOT checked, the index of vulnerabilities does not answer for them: {', '.join(unknown)}\n")
    if found:
        return 1
    return NOT_CHECKED if unknown else 0


def _locked(lock: str) -> set[str]:
    text = (ROOT / f"requirements/{lock}.txt").read_text(encoding="utf-8")
    return {_name(name) for name in re.findall(r"^([\w.\-]+)(?:\[[\w,\-]+\])?==", text, re.MULTILINE)}


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(component: dict[str, Any]) -> str:
    found = [
        each.get("expression") or each["license"].get("id") or each["license"].get("name", "")
        for each in component.get("licenses", [])
    ]
    named = " or ".join(dict.fromkeys(text.removeprefix("License :: ").splitlines()[0] for text in found if text))
    return named or metadata.metadata(component["name"]).get("License", "") or BY_TEXT[_name(component["name"])]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
