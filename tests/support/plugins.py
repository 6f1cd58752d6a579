"""Backends of installed packages: the examples of the documents, and packages as pip leaves them."""

import re

from tests.support.service import ROOT

DOCUMENT = ROOT / "docs/how-to/write-a-backend.md"


def code_of(module):
    """The code block of the document that starts with the name of a module."""
    found = re.search(rf'```python\n("""{module}\.py:.*?)```', DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def install(site, *, group="atelier.backends", **modules):
    """Packages as pip leaves them: modules, and the metadata of a distribution with the entry points of a group."""
    lines = [f"[{group}]"]
    for module, (name, attribute, code) in modules.items():
        (site / f"{module}.py").write_text(code, encoding="utf-8")
        lines.append(f"{name} = {module}:{attribute}")
    metadata = site / "plugins-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
