import json

import numpy as np
import pytest

from training.measure.findings import Findings, above, below, between, close, equal, recorded


@pytest.mark.parametrize(
    ("finding", "holds", "wanted"),
    [
        (equal("f", "learnt", "learnt"), True, "learnt"),
        (equal("f", np.int64(3), 4), False, "4"),
        (close("f", 1.09, 1.0, within=0.1), True, "1 ± 0.1"),
        (close("f", 1.11, 1.0, within=0.1), False, "1 ± 0.1"),
        (close("f", float("nan"), 1.0, within=0.1), False, "1 ± 0.1"),
        (between("f", 19.0, 18.9, 19.1), True, "between 18.9 and 19.1"),
        (between("f", 19.1, 18.9, 19.1), False, "between 18.9 and 19.1"),
        (below("f", 0.4, 0.5, of="luck"), True, "below 0.5, luck"),
        (below("f", 0.5, 0.5, of="luck"), False, "below 0.5, luck"),
        (above("f", 0.6, 0.5, of="luck"), True, "above 0.5, luck"),
        (above("f", float("nan"), 0.5, of="luck"), False, "above 0.5, luck"),
        (recorded("f", np.float32(0.5)), None, ""),
    ],
)
def test_a_figure_shows_whether_it_has_the_expected_value(finding, holds, wanted):
    assert (finding.holds, finding.wanted) == (holds, wanted)
    json.dumps(finding.as_json(), allow_nan=False)


def test_missed_figures_are_named_together():
    agreeing, recording = equal("a", 1, 1), recorded("b", 2)
    one, two = equal("c", 1, 2), equal("d", 1, 2)
    assert Findings(figures=(agreeing, recording)).missed == ()
    assert Findings(figures=(agreeing, one)).complaint == "c is not as expected"
    assert Findings(figures=(one, recording, two)).complaint == "c, d are not as expected"


def test_a_figure_that_json_cannot_represent_becomes_its_name():
    assert recorded("f", float("inf")).as_json()["value"] == "inf"
    assert recorded("f", np.float64("nan")).as_json()["value"] == "nan"
    assert recorded("f", np.int32(7)).as_json()["value"] == 7
