"""Sources of app/ and training/ rewritten for the package ``atelier_serving``.

A checkout has the top-level packages ``app`` and ``training``; many projects have packages of these names too. In the
wheel both are inside ``atelier_serving``, and every absolute import says so. Messages that name a command of the
checkout name that of an installation.
"""

import ast
import re
import shutil
from pathlib import Path

PACKAGE = "atelier_serving"
FOLDERS = ("app", "training")
_INIT = f'"""Atelier: ``{PACKAGE}.app`` serves models, ``{PACKAGE}.training`` trains them."""\n'
# Also in templates of recipes, where the name of a module may be a field in braces.
_IMPORTED = re.compile(r"\bfrom (app|training)(?=\.\w|\.\{| import\b)")
_QUOTED = re.compile(r"([\"'`])((?:app|training)(?:\.[a-z_]\w*)+)(?=\1)")
# What a user types; ``python -m app.module`` is none of these.
_COMMAND = re.compile(r"(?:\b|(?<=\\n))python -m (app|training)\b(?!\.)")
_SCRIPTS = {"app": "atelier", "training": "atelier-training"}
_HINTS = (
    ("make train-install", "pip install 'atelier-serving[train]'"),
    ("make serve GPU=1", "pip install 'atelier-serving[gpu]'"),
    (
        "make serve SAVEDMODEL=1, or pip install -r requirements/savedmodel.txt",
        "pip install 'atelier-serving[savedmodel]'",
    ),
    ("pip install -r requirements/parquet.txt", "pip install 'atelier-serving[parquet]'"),
    ("pip install -r requirements/tracing.txt", "pip install 'atelier-serving[tracing]'"),
    ("pip install -r requirements/remote.txt", "pip install 'atelier-serving[remote]'"),
    ("make serve PORT=9000", "atelier serve --port 9000"),
)
_OF_A_CHECKOUT = re.compile(rf"{_COMMAND.pattern}|make (?:serve|train)|requirements/\w")
_SETTINGS = (
    ('include = ["app*", "training*"]', f'include = ["{PACKAGE}*"]'),
    (
        'app = ["api/playground/*.html", "api/playground/assets/*"]',
        f'"{PACKAGE}.app" = ["api/playground/*.html", "api/playground/assets/*"]',
    ),
    ('training = ["report/templates/*.html"]', f'"{PACKAGE}.training" = ["report/templates/*.html"]'),
    ('atelier = "app.cli:main"', f'atelier = "{PACKAGE}.app.cli:main"'),
    ('atelier-training = "training.cli:main"', f'atelier-training = "{PACKAGE}.training.cli:main"'),
)


class CannotRelocate(Exception):
    """A source that would not work inside the package; the message names the file, the line and the cure."""


def write_tree(root: Path, tree: Path) -> None:
    """Write what the wheel is built from.

    Args:
        root: of the checkout.
        tree: directory for the project; must be empty.

    Raises:
        CannotRelocate: a source or pyproject.toml has a form that is not rewritten.
    """
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if not path.is_file() or path.parent.name == "__pycache__":
                continue
            target = tree / PACKAGE / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix != ".py":
                shutil.copyfile(path, target)
                continue
            text = path.read_text(encoding="utf-8")
            target.write_text(relocated(text, path.relative_to(root)), encoding="utf-8")
    (tree / PACKAGE / "__init__.py").write_text(_INIT, encoding="utf-8")
    for name in ("LICENSE", "README.md"):
        shutil.copy(root / name, tree)
    settings = (root / "pyproject.toml").read_text(encoding="utf-8")
    (tree / "pyproject.toml").write_text(_project(settings), encoding="utf-8")


def relocated(text: str, place: Path) -> str:
    """The source of a module, for the package.

    Args:
        text: of a module of app/ or training/.
        place: its file, for messages.

    Raises:
        CannotRelocate: after the rewriting it still names a top-level ``app`` or ``training``, or a command that
            only a checkout has.
    """
    text = _IMPORTED.sub(rf"from {PACKAGE}.\1", text)
    text = _QUOTED.sub(rf"\1{PACKAGE}.\2", text)
    text = _COMMAND.sub(lambda found: _SCRIPTS[found[1]], text)
    for of_checkout, of_installation in _HINTS:
        text = text.replace(of_checkout, of_installation)
    for node in ast.walk(ast.parse(text)):
        if cure := _cure(node):
            raise CannotRelocate(f"{place}:{node.lineno}: {cure}")  # type: ignore[attr-defined]
    return text


def _cure(node: ast.AST) -> str:
    """What to write instead of this node; empty if the node is fine."""
    if isinstance(node, ast.Import):
        for name in node.names:
            if name.name.split(".")[0] in FOLDERS:
                return f"import {name.name} is not rewritten; write from PACKAGE import NAME"
    if isinstance(node, ast.ImportFrom) and not node.level and str(node.module).split(".")[0] in FOLDERS:
        return f"the import from {node.module} is not rewritten; write it on one line: from {node.module} import"
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := _OF_A_CHECKOUT.search(node.value)):
        return f"{found[0]!r} is not rewritten; write it without a break between two strings, or add it to _HINTS"
    return ""


def _project(text: str) -> str:
    """pyproject.toml for the package."""
    for old, new in _SETTINGS:
        if text.count(old) != 1:
            raise CannotRelocate(f"pyproject.toml: {old!r} is expected once, and is there {text.count(old)} times")
        text = text.replace(old, new)
    return text
