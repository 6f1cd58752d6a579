"""The links of a page in which a web server lists a directory."""

from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

# Parts of a path that name no file or directory below another.
NO_NAMES = {"", ".", ".."}


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def names_on(page: str, url: str) -> list[str]:
    """The names of files, and with a slash at their end of directories, directly below the directory of a page.

    Links that sort the page, or lead to its parent or elsewhere, are left out, and so is a name with a slash in it.

    Args:
        page: HTML.
        url: of the directory, with a slash at its end.
    """
    links = _Links()
    links.feed(page)
    names: dict[str, None] = {}
    for link in links.found:
        try:
            target = urlsplit(urljoin(url, link))
        except ValueError:  # such as http://[bad/
            continue
        path = target._replace(query="", fragment="").geturl()
        if target.query or not path.startswith(url):
            continue
        name, slash, rest = path[len(url) :].partition("/")
        name = unquote(name)
        if not rest and "/" not in name and name not in NO_NAMES:
            names[name + slash] = None
    return list(names)
