"""Executes the notebook of the tutorial in Jupyter's kernel; ``make notebook`` calls it.

The tests run its cells without Jupyter, whose kernel brings thirty packages. Ends with an error if a cell fails.
"""

import json
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs/tutorial/whole-way.ipynb"
TIMEOUT_S = 120


def main() -> None:
    """Run all cells in the folder of the project and write the notebook with its outputs to build/."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    began = time.monotonic()
    NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(ROOT)}}).execute()
    executed = ROOT / "build" / NOTEBOOK.name
    executed.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, executed)
    printed = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert "right answers of the service" in printed
    print(f"{executed.relative_to(ROOT)}: {time.monotonic() - began:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
