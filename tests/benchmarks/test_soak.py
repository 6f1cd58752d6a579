"""A short soak: a leak is found in a service that leaks, and none in the real one."""

import json
import sys

import pytest

from benchmarks.soak.report import document_of, table_of, write
from benchmarks.soak.run import Plan, soak
from tests.support.tiny_models import write_brightness_model, write_words_model

LEAKING = (sys.executable, "-m", "tests.support.leaking_service", "serve")
# 64 KiB for each of 150 requests in a second are 35,000 MB an hour; a few seconds of noise give far less.
SHORT = Plan(
    seconds=9,
    warm_up_s=3,
    sample_s=0.1,
    change_s=0.2,
    good_per_s=150,
    bad_per_s=20,
    gone_per_s=10,
    grpc_per_s=10,
    memory_mb_per_h=10_000,
    count_per_h=3_600,
)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    directory = tmp_path_factory.mktemp("soak")
    return [write_brightness_model(directory), write_words_model(directory)]


def test_a_service_under_load_and_changes_answers_rightly_and_does_not_grow(versions, tmp_path):
    found = soak(versions, SHORT)
    assert found.faults == []
    assert found.tally.codes[200] > 500
    assert sum(found.tally.refused.values()) > 80
    assert found.tally.gone > 40
    assert {"version replaced", "settings changed", "broken version refused", "canary moved"} <= set(found.changes)
    assert table_of(found).row_count > 15
    document, picture = write(found, tmp_path / "soak.json")
    assert json.loads(document.read_text()) == json.loads(json.dumps(document_of(found)))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_service_that_keeps_64_kib_of_each_request_is_found_out(versions):
    found = soak(versions, SHORT, command=LEAKING)
    assert found.growth["resident_mb"].slope == pytest.approx(36_000, rel=0.35)
    assert any(fault.startswith("resident_mb grows by") for fault in found.faults)
    assert [error.endswith("ERROR   it leaks\n") for error in found.errors] == [True]
    assert any(fault.startswith("1 errors in the log, first: ") for fault in found.faults)
    assert found.tally.lost == 0
