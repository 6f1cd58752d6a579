"""Hooks of the documents' web site (mkdocs.yml): decision records in its navigation, and no host but its own."""

import re
from pathlib import Path
from typing import Any

LOADED = re.compile(rb"""<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=["']?(https?:)?//[^"'>\s]+""")
"""A page that a browser loads something for from another host. Links to click on are no matter."""


def on_config(config: Any) -> Any:
    """Append every record in docs/decisions to the navigation."""
    records = sorted(Path(config["docs_dir"], "decisions").glob("[0-9]*.md"))
    [section] = [each["Decisions"] for each in config["nav"] if "Decisions" in each]
    section += [f"decisions/{record.name}" for record in records]
    return config


def on_post_build(config: Any) -> None:
    """Refuse a site whose pages load anything from another host.

    Raises:
        SystemExit: names the page and what it loads.
    """
    for page in Path(config["site_dir"]).rglob("*.html"):
        if found := LOADED.search(page.read_bytes()):
            raise SystemExit(f"{page}: loads from another host: {found[0].decode()}")
