"""The documents name everything there is, and nothing that is not."""

import re
import subprocess
import sys

import pytest

from tests.support.readme import ROOT
from training.runs.catalogue import recipe_names

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("name", recipe_names())
def test_each_recipe_has_its_place_in_the_document_and_its_result_in_its_file(name):
    text = (ROOT / "docs/recipes.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| .*\b{name.removeprefix('fashion-mnist-mlp')}\b.*\|", text, re.MULTILINE)
    source = (ROOT / "training/recipes" / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    assert f"Command: python -m training run {name}" in source
    result = re.search(r"^Result: (.+)", source, re.MULTILINE)
    assert result
    assert re.search(r"\d", result[1])
    assert "Date and hardware: " in source


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_to_is_there(path):
    for target in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_every_heading_that_a_document_links_to_is_there():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        for anchor in re.findall(r"\]\(#([^)]+)\)", text):
            assert anchor in headings, f"{path.name}: {anchor}"


def test_every_benchmark_that_a_document_names_is_a_command():
    named = set()
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        named |= set(re.findall(r"python -m benchmarks ([a-z][a-z-]*)", path.read_text(encoding="utf-8")))
    done = subprocess.run([sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, check=True)
    assert {"startup", "serving", "reload", "workers", "gpu"} <= named
    assert all(re.search(rf"^\W*{name}\s", done.stdout.decode(), re.M) for name in named)
