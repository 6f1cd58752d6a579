"""Sums over workers never fall when one of them ends."""

from app.telemetry.metrics import Metrics
from app.workers.totals import Totals


def counts(requests, *, number=1, rollouts=()):
    metrics = Metrics()
    metrics.for_version("m", 1).requests["v1", 200] = requests
    return {"number": number, "metrics": {**metrics.snapshot(), "rollouts": list(rollouts)}, "process": []}


def requests(totals):
    """The counts of all workers together, and of each."""
    document = totals.document(workers=2, serving=2)
    (_, _, version), *_ = document["metrics"]["versions"]
    return version["counts"]["requests"][0][1], document["requests"]


def test_counts_of_an_ended_worker_stay_and_its_successor_adds_to_them():
    totals = Totals()
    totals.heard(1, counts(5))
    totals.heard(2, counts(7))
    assert requests(totals) == (12, [[1, 5], [2, 7]])
    totals.ended(1)
    assert requests(totals) == (12, [[1, 5], [2, 7]])
    totals.heard(1, counts(3))
    assert requests(totals) == (15, [[1, 8], [2, 7]])
    totals.ended(1)
    totals.ended(2)
    assert requests(totals) == (15, [[1, 8], [2, 7]])


def test_late_counts_do_not_replace_newer_ones():
    totals = Totals()
    totals.heard(1, counts(5, number=2))
    totals.heard(1, counts(4, number=1))
    assert requests(totals)[0] == 5


def test_a_canary_that_no_worker_tries_any_more_is_forgotten():
    seen = dict.fromkeys(("requests", "errors", "copies", "copy_errors", "dropped", "rows", "agreed"), 1)
    rollout = [
        "m",
        1,
        2,
        {**seen, "distance_sum": 0, "distance_max": 0, "distances": [0] * 14, "stable_s": 0, "canary_s": 0},
        False,
    ]
    totals = Totals()
    totals.heard(1, counts(1, rollouts=[rollout]))
    totals.heard(2, counts(1, rollouts=[rollout]))
    totals.ended(1)
    (_, _, _, values, _), *others = totals.document(workers=2, serving=1)["metrics"]["rollouts"]
    assert (values["requests"], others) == (2, [])
    totals.heard(2, counts(1, number=2))
    assert totals.document(workers=2, serving=1)["metrics"]["rollouts"] == []
