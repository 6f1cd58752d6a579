"""Counts of several processes add up to those that one would have had."""

import json
from dataclasses import fields

import numpy as np
from prometheus_client import generate_latest

from app.batching.work import BatchTimes, Timings
from app.lifecycle.versions import State
from app.rollout.comparison import Comparison
from app.telemetry.counts import VersionMetrics
from app.telemetry.metrics import ENDED_KEPT, GONE_KEPT, Metrics
from app.telemetry.process import OwnProcess, ProcessMetrics
from app.workers.totals import Totals, requests_in


def record(counts, seed):
    """A sample of every kind of count, with times that add up without rounding in binary."""
    rng = np.random.default_rng(seed)
    for number in rng.integers(1, 300, 20).tolist():
        seconds = number / 1024
        timings = Timings()
        timings.read, timings.queue, timings.compute = seconds / 8, seconds / 4, seconds / 2
        counts.answered(seconds, timings)
        counts.fail.add(seconds)
        counts.batch_done(rows=number % 9 + 1, reason="full", times=BatchTimes(seconds, 2 * seconds, 0.5), padding=0.25)
        counts.work_dropped(rows=number, reason="deadline")
        counts.batch_hung()
        counts.device_failed(times=number)
        counts.recorded += number
        counts.recording_dropped["disk"] += number
        counts.feedback += 1
        counts.requests["v1", 200] = counts.requests.get(("v1", 200), 0) + number
        counts.requests["v2", 400 + seed] = number
        counts.last_inference_s = max(counts.last_inference_s, float(number))
        counts.note_trace(f"{number:032x}", seconds, float(100 * seed + number))


def over_the_wire(snapshot):
    return json.loads(json.dumps(snapshot))


def test_merged_counts_are_those_of_one_process():
    alone, parts = VersionMetrics(), [VersionMetrics(), VersionMetrics()]
    for seed, part in enumerate(parts):
        record(alone, seed)
        record(part, seed)
    merged = VersionMetrics()
    for part in parts:
        merged.merge(over_the_wire(part.snapshot()))
    assert merged.snapshot() == alone.snapshot()
    assert merged.statistics() == alone.statistics()


def test_every_count_is_part_of_the_snapshot():
    counts, empty = VersionMetrics(), VersionMetrics()
    record(counts, 0)
    counts.queue_changed(rows=3, nbytes=48)
    merged = VersionMetrics()
    merged.merge(over_the_wire(counts.snapshot()))
    for each in fields(VersionMetrics):
        if each.name not in {"waiting", "batches"}:  # included in the histograms
            assert _plain(getattr(merged, each.name)) == _plain(getattr(counts, each.name)), each.name
            assert _plain(getattr(merged, each.name)) != _plain(getattr(empty, each.name)), each.name


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.snapshot() if hasattr(value, "snapshot") else value


def test_of_a_process_that_has_ended_only_counters_stay():
    ended, running = Metrics(), Metrics()
    record(ended.for_version("m", 1), 0)
    ended.for_version("m", 1).queue_changed(rows=3, nbytes=48)
    ended.set_state("m", 1, State.LOADING)
    ended.for_version("m", 1).batch_hung()
    ended.load_done("m", True, 0.5)
    running.set_state("m", 1, State.READY)
    running.load_done("m", True, 0.25)
    merged = Metrics()
    merged.merge(over_the_wire(ended.snapshot()), ended=True)
    merged.merge(over_the_wire(running.snapshot()))
    text = generate_latest(merged).decode()
    assert 'atelier_queued_rows{model="m",version="1"} 0.0' in text
    assert 'atelier_model_state{model="m",state="LOADING",version="1"} 0.0' in text
    assert 'atelier_model_state{model="m",state="READY",version="1"} 1.0' in text
    assert 'atelier_model_load_seconds_total{model="m",result="ready"} 0.75' in text
    assert 'atelier_request_seconds_count{model="m",version="1"} 20.0' in text
    assert 'atelier_hung_batches_total{model="m",version="1"} 21.0' in text


def test_the_service_is_ready_if_a_worker_is():
    def ready(*workers):
        merged = Metrics()
        for is_ready, has_ended in workers:
            one = Metrics()
            one.is_ready = lambda is_ready=is_ready: is_ready
            merged.merge(over_the_wire(one.snapshot()), ended=has_ended)
        return "atelier_ready 1.0" in generate_latest(merged).decode()

    assert ready((False, False), (True, False))
    assert not ready((False, False))
    assert not ready((True, True), (False, False))  # the one that was ready has ended


def test_different_states_of_workers_are_all_reported():
    merged = Metrics()
    for state in (State.LOADING, State.READY):
        one = Metrics()
        one.set_state("m", 1, state)
        merged.merge(over_the_wire(one.snapshot()))
    text = generate_latest(merged).decode()
    for state, value in (("LOADING", "1.0"), ("READY", "1.0"), ("UNAVAILABLE", "0.0")):
        assert f'atelier_model_state{{model="m",state="{state}",version="1"}} {value}' in text


def test_comparisons_add_up_but_for_the_largest_distance():
    one = Comparison(1, 2, 3, 4, 5, 6, 7, 0.5, 0.75, [1, *range(13)], 1.0, 2.0)
    one.merge(Comparison(10, 20, 30, 40, 50, 60, 70, 0.25, 0.5, [10, *range(13)], 0.5, 1.0))
    assert one == Comparison(11, 22, 33, 44, 55, 66, 77, 0.75, 0.75, [11, *range(0, 26, 2)], 1.5, 3.0)


def test_processes_add_up_but_for_the_start():
    families = [
        ["process_cpu_seconds", "cpu", "counter", [["process_cpu_seconds_total", {}, 2.5]]],
        ["process_resident_memory_bytes", "memory", "gauge", [["process_resident_memory_bytes", {}, 100.0]]],
        ["process_start_time_seconds", "start", "gauge", [["process_start_time_seconds", {}, 50.0]]],
    ]
    later = over_the_wire(families)
    later[2][3][0][2] = 70.0
    merged = ProcessMetrics()
    merged.merge(later)
    merged.merge(families)
    merged.merge(families, ended=True)
    values = {sample.name: sample.value for family in merged.collect() for sample in family.samples}
    assert values == {
        "process_cpu_seconds_total": 7.5,
        "process_resident_memory_bytes": 200.0,
        "process_start_time_seconds": 50.0,
    }


def test_the_metrics_of_a_process_survive_serialisation():
    merged = ProcessMetrics()
    merged.merge(over_the_wire(OwnProcess().snapshot()))
    text = generate_latest(merged).decode()
    assert "# TYPE process_cpu_seconds_total counter" in text
    assert 'python_gc_collections_total{generation="0"}' in text


def test_counts_of_versions_that_are_gone_are_dropped_and_their_requests_stay_in_the_sum():
    metrics = Metrics()
    for version in range(1, 501):
        metrics.set_state("tiny", version, State.READY)
        record(metrics.for_version("tiny", version), 0)
        metrics.set_state("tiny", version, State.UNAVAILABLE)
        if version > 1:
            metrics.set_state("tiny", version - 1, None)  # its files are gone
    snapshot = over_the_wire(metrics.snapshot())
    kept = [version for _, version, _ in snapshot["versions"]]
    assert kept == list(range(500 - GONE_KEPT, 501))
    assert len(generate_latest(metrics)) < 1_000_000
    one = VersionMetrics()
    record(one, 0)
    assert requests_in(snapshot) == 500 * sum(one.requests.values())


def test_counts_of_worker_processes_that_ended_do_not_pile_up():
    totals = Totals()
    for worker in range(1, 101):
        metrics = Metrics()
        for version in range(10):
            record(metrics.for_version("tiny", 10 * worker + version), 0)
        record(metrics.for_version("tiny", 1), 0)  # serves in all of them
        totals.heard(worker, {"number": 1, "metrics": metrics.snapshot(), "process": []})
        totals.ended(worker)
    document = over_the_wire(totals.document(workers=100, serving=0))
    kept = {version for _, version, _ in document["metrics"]["versions"]}
    assert len(kept) == ENDED_KEPT
    assert {1, 1009} < kept
    one = VersionMetrics()
    record(one, 0)
    assert sum(count for _, count in document["requests"]) == 1100 * sum(one.requests.values())
