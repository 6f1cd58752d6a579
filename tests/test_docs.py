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
    shown = name.removeprefix("fashion-mnist-mlp") or name  # the others of that name are told by their endings
    assert re.search(rf"^\| .*{shown}(?![\w-]).*\|", text, re.MULTILINE)
    file = f"{name.replace('-', '_')}.py"
    [source] = [path.read_text(encoding="utf-8") for path in (ROOT / "training").glob(f"*s/{file}")]
    assert f"Command: python -m training run {name}" in source
    result = re.search(r"^Result: (.+)", source, re.MULTILINE)
    assert result
    assert re.search(r"\d", result[1])
    assert "Date and hardware: " in source


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_to_exists(path):
    for target in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_every_heading_that_a_document_links_to_exists():
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


def test_the_table_of_the_architecture_answers_each_question_with_one_or_two_files():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Where do I find")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!question|---)(.+?) \| (.+?) \|$", table, re.MULTILINE)
    assert len(rows) >= 25
    for question, answer in rows:
        files = re.findall(r"`([^`]+)`", answer)
        assert 1 <= len(files) <= 2, question
        assert all((ROOT / file).is_file() for file in files), answer


def test_files_that_documents_name_exist():
    for path in DOCUMENTS:
        if path.name == "CHANGELOG.md":  # tells of files as they were
            continue
        for file in re.findall(r"`((?:app|training|tests|benchmarks)/[\w/.]+\.py)`", path.read_text(encoding="utf-8")):
            assert (ROOT / file).is_file(), f"{path.name}: {file}"
