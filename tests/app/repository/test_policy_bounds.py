"""serving.json: every number in it has a limit, and the message names the limit."""

import json
import os
import time

import pytest

from app.errors import VersionRefused
from app.repository.last_valid_file import LAST_VALID_FILE, last_valid, policy_in_effect, remember
from app.repository.policy import ServingPolicy
from app.repository.policy_file import read_policy
from app.repository.serving_file import write_batching

HUGE = 10**12


@pytest.mark.parametrize(
    "document",
    [
        {"batching": {"max_batch_size": HUGE}},
        {"batching": {"max_batch_size": 4097}},
        {"batching": {"max_queue_delay_us": HUGE}},
        {"batching": {"max_queue_rows": HUGE}},
        {"batching": {"max_queue_bytes": HUGE}},
        {"batching": {"allowed_batch_sizes": [HUGE], "max_batch_size": HUGE}},
        {"batching": {"length_buckets": [HUGE]}},
        {"batching": {"priority_levels": HUGE}},
        {"batching": {"default_priority_level": HUGE}},
        {"batching": {"default_timeout_ms": HUGE}},
        {"batching": {"max_execution_ms": HUGE}},
        {"version_policy": {"latest": {"num_versions": HUGE}}},
        {"version_policy": {"specific": {"versions": [2**63]}}},
        {"version_labels": {"stable": 2**63}},
        {"promoted": [2**63]},
        {"instances": HUGE},
        {"gpu_mem_limit_mb": HUGE},
        {"rollout": {"rollback": {"min_requests": HUGE}}},
        {"batching": {"length_buckets": list(range(1, 300))}},
        {"version_policy": {"specific": {"versions": list(range(1, 1002))}}},
        {"version_labels": {str(i): i for i in range(1001)}},
        {"promoted": list(range(1001))},
        {"recording": {"sample": 2}},
        {"recording": {"max_file_mb": HUGE}},
        {"recording": {"max_files": HUGE}},
        {"recording": {"feedback_within_s": HUGE}},
        {"rollout": {"canary": {"percent": 1, "sticky_header": "x" * 257}}},
    ],
    ids=lambda document: json.dumps(document)[:60],
)
def test_values_beyond_a_limit_are_refused_with_a_short_message(tmp_path, document):
    (tmp_path / "serving.json").write_text(json.dumps(document))
    with pytest.raises(VersionRefused) as refused:
        read_policy(tmp_path)
    assert (
        "at most" in refused.value.message or "less than" in refused.value.message or "levels" in refused.value.message
    )
    assert len(refused.value.message) < 600


@pytest.mark.parametrize("name", ["serving.json", LAST_VALID_FILE])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["fifo", "device"])
def test_a_read_never_blocks_on_a_path_that_is_not_a_regular_file(tmp_path, name, make):
    started = time.monotonic()
    make(tmp_path / name)
    assert last_valid(tmp_path) is None
    assert policy_in_effect(tmp_path) == ServingPolicy()
    if name == "serving.json":
        with pytest.raises(VersionRefused, match="must be a regular file"):
            write_batching(tmp_path, {"max_batch_size": 2})
    assert time.monotonic() - started < 1


def test_a_fifo_at_the_path_of_the_kept_copy_is_replaced(tmp_path):
    policy = ServingPolicy(version_labels={"stable": 1})
    (tmp_path / "serving.json").write_text(policy.model_dump_json(exclude_unset=True))
    os.mkfifo(tmp_path / LAST_VALID_FILE)
    remember(tmp_path, policy)
    assert last_valid(tmp_path) == policy
