"""The documents' web site: its navigation and its hooks; `make docs` builds it strictly."""

import re

import pytest

from deploy.site import on_config, on_post_build
from tests.support.readme import ROOT


def test_every_document_is_in_the_navigation():
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]))
    found = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert listed == {path for path in found if not re.match(r"decisions/\d", path)}


def test_decision_records_join_the_navigation_in_their_order(tmp_path):
    (tmp_path / "decisions").mkdir()
    for name in ("README.md", "0002-second.md", "0001-first.md"):
        (tmp_path / "decisions" / name).touch()
    nav = [{"Tutorial": []}, {"Decisions": ["decisions/README.md"]}]
    on_config({"docs_dir": str(tmp_path), "nav": nav})
    assert nav[1] == {"Decisions": ["decisions/README.md", "decisions/0001-first.md", "decisions/0002-second.md"]}


@pytest.mark.parametrize(
    "element",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        "<img alt=a src=http://example/a.png>",
    ],
)
def test_a_page_that_loads_from_another_host_is_refused(tmp_path, element):
    (tmp_path / "page.html").write_text(f"<html>{element}</html>")
    with pytest.raises(SystemExit, match=r"page\.html: loads from another host: <"):
        on_post_build({"site_dir": str(tmp_path)})


def test_a_page_may_link_to_another_host(tmp_path):
    (tmp_path / "page.html").write_text('<a href="https://example.org">there</a><script src="assets/a.js"></script>')
    on_post_build({"site_dir": str(tmp_path)})
