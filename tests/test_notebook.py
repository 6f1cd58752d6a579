"""The notebook of the tutorial, cell by cell in one process, without Jupyter; ``make notebook`` runs it in a kernel."""

import json
import re

import pytest

from tests.support.forked_training import ForkedTraining
from tests.support.readme import ROOT

NOTEBOOK = ROOT / "docs/tutorial/whole-way.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_has_no_outputs(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_its_cells_train_publish_serve_and_ask(cells, tmp_path):
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    script = tmp_path / "cells.py"
    script.write_text(code, encoding="utf-8")
    with ForkedTraining([script], cwd=ROOT) as process:
        printed = process.stdout.read()
        assert process.wait() == 0, printed

    def figure(words):
        return float(re.search(rf"^{words}: ([\d.e-]+)$", printed, re.MULTILINE)[1])

    assert figure("test accuracy") > 0.8
    assert figure("largest difference from Keras") < 1e-5
    assert figure("right answers of the service") > 0.8
    assert "an ankle boot is: [[['Ankle boot', " in printed
    assert re.search(r"^the service ended with (0|-15)$", printed, re.MULTILINE)
