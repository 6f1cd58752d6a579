"""Self-contained HTML pages: jinja2 templates with every value escaped, pictures inside the page."""

import base64
import io
import warnings
from pathlib import Path
from typing import Any

from training.disk import replaced

REPORT_FILE = "report.html"


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Replace the file ``path`` with a page.

    Args:
        path: of the HTML file; its directory must exist.
        template: name of a file in ``training/report/templates``.
        values: what the template shows. Names and texts come from data: all of them are escaped.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(values)
    with replaced(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def png(figure: Any) -> bytes:
    """A matplotlib figure as a PNG file, without a date or version in it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # names in a script that the font lacks are boxes
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def inline(picture: bytes) -> str:
    """A PNG file as the address of an image, which contains it."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
