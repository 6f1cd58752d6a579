"""The sources of the wheel: what is rewritten, what is refused, and that they need no top-level app or training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.wheel.relocation import CannotRelocate, relocated, write_tree
from tests.support.service import ROOT

PLACE = Path("app/example.py")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from app.errors import A\n", "from atelier_serving.app.errors import A\n"),
        (
            "def f():\n    from training import lessons\n",
            "def f():\n    from atelier_serving.training import lessons\n",
        ),
        ('C = ("-m", "app.workers.process")\n', 'C = ("-m", "atelier_serving.app.workers.process")\n'),
        (
            "T = 'from training.network.{name} import x'\n",
            "T = 'from atelier_serving.training.network.{name} import x'\n",
        ),
        ('M = "try python -m app verify"\n', 'M = "try atelier verify"\n'),
        ('M = "a\\npython -m training run"\n', 'M = "a\\natelier-training run"\n'),
        ('M = "run: make train-install"\n', "M = \"run: pip install 'atelier-serving[train]'\"\n"),
        ('A = {"training": app.keys, "app": 1}  # from training; on\n', None),
    ],
)
def test_imports_commands_and_names_of_modules_are_those_of_the_package(source, expected):
    assert relocated(source, PLACE) == (source if expected is None else expected)


def test_all_files_of_both_packages_are_in_the_tree(tmp_path):
    """Scripts and pictures of the page too: without them, no route but inference works."""
    listed = subprocess.run(
        ["git", "ls-files", "app", "training"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    write_tree(ROOT, tmp_path)
    missing = [name for name in listed.stdout.split() if not (tmp_path / "atelier_serving" / name).is_file()]
    assert missing == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "x = 1\nimport app.errors\n",
            "app/example.py:2: import app.errors is not rewritten; write from",
        ),
        ("from app \\\n    import errors\n", "the import from app is not rewritten"),
        ('M = "python -m "\\\n    "app serve"\n', "'python -m app' is not rewritten"),
        ('M = "make serve X=1"\n', "'make serve' is not rewritten"),
    ],
)
def test_what_is_not_rewritten_is_refused_with_its_line(source, message):
    with pytest.raises(CannotRelocate, match=message.replace("(", r"\(")):
        relocated(source, PLACE)


def test_the_package_works_next_to_modules_of_the_same_names(tmp_path):
    """Both command lines are imported, and a drafted recipe is read, while `import app` would fail."""
    tree, user = tmp_path / "tree", tmp_path / "user"
    tree.mkdir()
    user.mkdir()
    write_tree(ROOT, tree)
    for name in ("app", "training"):
        (user / f"{name}.py").write_text("raise RuntimeError('a module of the user is imported')\n")
    (user / "rows.csv").write_text("size,kind\n" + "".join(f"{size / 7},{'ab'[size % 2]}\n" for size in range(80)))
    code = """
import sys
from atelier_serving.app.cli import cli
from atelier_serving.training.cli import app
from atelier_serving.training.runs.catalogue import load_recipe
app(["new", "kinds", "--table", "rows.csv", "--target", "kind"], standalone_mode=False)
print(load_recipe("kinds").name, sorted({"app", "training"} & set(sys.modules)))
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=user,
        env={**os.environ, "PYTHONPATH": f"{user}:{tree}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("kinds []\n"), ended.stdout
    assert "atelier-training run kinds --publish" in ended.stdout
