"""Reads a page of a report as a browser does."""

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """What a page contains.

    Attributes:
        tables: id or class of a table -> its rows, each a list of texts; tables of one class are one after another.
        images: (alternative text, address) of each.
        links: address of each.
        tags: names of all elements.
        headings: texts.
        text: everything that is shown.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: dict[str, list[list[str]]] = {}
        self.images: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.headings: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._rows = self.tables.setdefault(found.get("id") or found.get("class", ""), [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th"}:
            self._rows[-1].append("")
        elif tag == "img":
            self.images.append((found["alt"], found["src"]))
        elif tag == "a":
            self.links.append(found["href"])
        elif tag in {"h1", "h2", "h3"}:
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"closed in another order: {tag}"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if {"td", "th"} & set(self._open[-2:]):
            self._rows[-1][-1] += " ".join(data.split())
        if self._open and self._open[-1] in {"h1", "h2", "h3"}:
            self.headings[-1] += data

    def row(self, table: str, name: str) -> list[str]:
        """The cells after ``name`` in the first row of that name."""
        return next(cells[1:] for cells in self.tables[table] if cells and cells[0] == name)
