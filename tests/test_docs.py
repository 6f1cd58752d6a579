"""The documents name all settings, metrics and files that exist, and no others."""

import re
import subprocess
import sys

import pytest

from app.settings import PREFIX, Settings
from tests.support.readme import ROOT
from training.runs.catalogue import recipe_names

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("name", recipe_names())
def test_each_recipe_has_its_place_in_the_document_and_its_result_in_its_file(name):
    text = (ROOT / "docs/reference/recipes.md").read_text(encoding="utf-8")
    shown = name.removeprefix("fashion-mnist-mlp") or name  # the others of that name differ in their suffix
    assert re.search(rf"^\| .*{shown}(?![\w-]).*\|", text, re.MULTILINE)
    file = f"{name.replace('-', '_')}.py"
    [source] = [path.read_text(encoding="utf-8") for path in (ROOT / "training").glob(f"*s/{file}")]
    assert f"Command: python -m training run {name}" in source
    result = re.search(r"^Result: (.+)", source, re.MULTILINE)
    assert result
    assert re.search(r"\d", result[1])
    assert "Date and hardware: " in source


def name_of(path):
    return str(path.relative_to(ROOT))


def headings(path):
    """Anchors of a document."""
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_file_and_heading_that_a_document_links_to_exists(path):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", path.read_text(encoding="utf-8")):
        linked = (path.parent / target).resolve() if target else path
        assert linked.exists(), target
        assert not anchor or anchor in headings(linked), f"{target}#{anchor}"
        assert path.parent == ROOT or (ROOT / "docs") in linked.parents, (
            f"{target} is not in the built site; write it as code"
        )


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_prose_is_wrapped(path):
    """At 120 columns; tables, code, and words that are longer alone are not prose."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    long = [
        line for line in text.splitlines() if len(line) > 120 and not line.startswith("|") and " " in line.strip("- ")
    ]
    assert long == []


def test_every_benchmark_that_a_document_names_is_a_command():
    named = set()
    for path in DOCUMENTS:
        named |= set(re.findall(r"python -m benchmarks ([a-z][a-z-]*)", path.read_text(encoding="utf-8")))
    done = subprocess.run([sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, check=True)
    assert {"startup", "serving", "reload", "workers", "gpu"} <= named
    assert all(re.search(rf"^\W*{name}\s", done.stdout.decode(), re.M) for name in named)


def test_the_table_of_the_architecture_answers_each_question_with_one_or_two_files():
    text = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    table = text.partition("## Where do I find")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!question|---)(.+?) \| (.+?) \|$", table, re.MULTILINE)
    assert len(rows) >= 25
    for question, answer in rows:
        files = re.findall(r"`([^`]+)`", answer)
        assert 1 <= len(files) <= 2, question
        assert all((ROOT / file).is_file() for file in files), answer
        assert ".py" not in question, f"a third file is no answer: {question}"
        text = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
        for name in re.findall(r"`([\w.]+)`", " ".join(re.findall(r"\(.+?\)", question))):
            assert name.rpartition(".")[2] in text, f"{name}: {question}"
    questions = [question for question, _ in rows]
    assert len(set(questions)) == len(questions)


def test_files_that_documents_name_exist():
    for path in DOCUMENTS:
        if path.name == "CHANGELOG.md":  # describes files that may be gone
            continue
        for file in re.findall(r"`((?:app|training|tests|benchmarks)/[\w/.]+\.py)`", path.read_text(encoding="utf-8")):
            assert (ROOT / file).is_file(), f"{name_of(path)}: {file}"


def test_messages_that_the_runbook_quotes_are_messages_of_the_service():
    text = re.sub(r"```.*?```", "", (ROOT / "docs/how-to/runbook.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"`[^`]+`", "", text)
    source = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    messages = re.findall(r'"([^"\n]+)"', text)
    assert len(messages) > 10
    for message in messages:
        parts = (part.strip(" ,;:") for part in re.split(r"\.\.\.|\d+", message))
        assert all(part in source for part in parts), message


def test_every_setting_of_the_process_is_documented():
    """By its variable; the tables of limits leave the prefix out."""
    pages = ("docs/reference/protocols.md", "docs/explanation/reliability.md")
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages)
    documented = {name.removeprefix(PREFIX) for name in re.findall(r"`([A-Z_]+)`", text)}
    assert {name.upper() for name in Settings.model_fields} <= documented
