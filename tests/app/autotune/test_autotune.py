"""Which settings are tried, which is chosen, how a setting is measured, and how serving.json changes."""

import asyncio
import json
import os
import time

import numpy as np
import pytest

from app.autotune.choice import Measurement, Setting, candidates, choose, finalists
from app.autotune.measure import REPEATS, BatchingBenchmark, Load
from app.contract.golden import Golden
from app.errors import BackendFailed, VersionRefused
from app.lifecycle.loading.loader import Loader
from app.repository.places import Places
from app.repository.policy_file import read_policy
from app.repository.serving_file import write_batching
from app.runtime.backend import Backend
from app.runtime.warmup import LatencyCurve
from tests.support.fakes import Observed
from tests.support.tiny_models import write_words_model


def measured(size, *, delay=0, buckets=(), per_s=100.0, p99=1.0):
    setting = Setting(max_batch_size=size, max_queue_delay_us=delay, length_buckets=buckets)
    return Measurement(setting=setting, instances_per_s=per_s, p50_ms=p99 / 2, p99_ms=p99)


# Candidates


def test_sizes_are_the_powers_of_two_up_to_the_hint_and_one_step_beyond():
    tried = candidates(hint=8, now=Setting(max_batch_size=8))
    assert sorted({setting.max_batch_size for setting in tried}) == [1, 2, 4, 8, 16]
    assert {setting.max_batch_size for setting in candidates(hint=12, now=tried[0])} == {1, 2, 4, 8, 12, 24}


def test_a_batch_of_one_is_tried_without_delay_and_without_buckets():
    tried = candidates(hint=2, now=Setting(max_batch_size=2), buckets_for=lambda size: (8, size * 16))
    assert [setting for setting in tried if setting.max_batch_size == 1] == [Setting(max_batch_size=1)]


def test_texts_are_tried_with_the_buckets_of_each_size_and_without_buckets():
    tried = candidates(hint=2, now=Setting(max_batch_size=2), buckets_for=lambda size: (8, size * 16))
    assert {(s.max_batch_size, s.length_buckets) for s in tried} == {
        (1, ()),
        (2, ()),
        (2, (8, 32)),
        (4, ()),
        (4, (8, 64)),
    }


def test_the_setting_in_force_is_tried_once():
    odd = Setting(max_batch_size=7, max_queue_delay_us=50)
    assert candidates(hint=8, now=odd)[-1] == odd
    usual = Setting(max_batch_size=8)
    assert candidates(hint=8, now=usual).count(usual) == 1


def test_stated_batch_sizes_do_not_change_the_largest_one():
    tried = candidates(hint=32, now=Setting(max_batch_size=6), allowed_batch_sizes=(2, 6))
    assert {setting.max_batch_size for setting in tried} == {6}
    assert len({setting.max_queue_delay_us for setting in tried}) > 1


# The choice


def test_the_most_instances_a_second_within_the_limit_are_chosen():
    slow, best, late = measured(4, per_s=100), measured(16, per_s=200), measured(32, per_s=400, p99=9)
    assert choose([slow, best, late], p99_ms=5) is best


def test_a_p99_of_exactly_the_limit_meets_it():
    only = measured(4, p99=5)
    assert choose([only], p99_ms=5) is only


def test_no_setting_is_chosen_if_none_meets_the_limit():
    assert choose([measured(4, p99=5.1), measured(8, p99=6)], p99_ms=5) is None


@pytest.mark.parametrize(
    ("simple", "best"),
    [
        (measured(16, per_s=97.5), measured(8, delay=200, per_s=100)),
        (measured(8, per_s=97.5), measured(16, per_s=100)),
        (measured(8, delay=200, per_s=97.5), measured(8, delay=1000, per_s=100)),
        (measured(8, per_s=97.5), measured(8, buckets=(8, 16), per_s=100)),
    ],
)
def test_within_three_percent_of_the_best_the_simpler_setting_wins(simple, best):
    assert choose([best, simple], p99_ms=5) is simple


def test_beyond_three_percent_the_best_wins():
    best = measured(16, delay=200, per_s=100)
    assert choose([measured(8, per_s=96.9), best], p99_ms=5) is best


def test_only_settings_near_the_best_that_meet_the_limit_are_measured_again():
    best, near = measured(16, per_s=100), measured(8, per_s=86)
    others = [measured(4, per_s=84), measured(32, per_s=400, p99=9)]
    assert finalists([best, near, *others], p99_ms=5) == [best.setting, near.setting]
    assert finalists(others, p99_ms=0.5) == []


# The measurement


class WordsBackend(Backend):
    """Answers the golden texts of the words model; remembers the lengths in each batch and whether it was closed."""

    provider = "CPUExecutionProvider"

    def __init__(self, golden):
        ids, lengths = golden.inputs["token_ids"], golden.lengths["token_ids"]
        self.answers = {
            tuple(row[:length]): answer
            for row, length, answer in zip(ids, lengths, golden.outputs["probabilities"], strict=True)
        }
        self.batches = []
        self.fails = False
        self.closed = False

    def run(self, inputs):
        if self.fails:
            raise BackendFailed("out of memory")
        ids = inputs["token_ids"]
        self.batches.append((ids != 0).sum(axis=1).tolist())
        default = np.array([0.2689414, 0.7310586], np.float32)  # of the raw sample "A good film!"
        return {"probabilities": np.stack([self.answers.get(tuple(row[row != 0]), default) for row in ids])}

    def close(self):
        self.closed = True


def run_bench(tmp_path, settings, *, fails=False, concurrency=4):
    directory = write_words_model(tmp_path)
    golden = Golden.read(directory)
    backend, observed, slices = WordsBackend(golden), Observed(), []
    loader = Loader(
        places=Places(tmp_path),
        make_backend=lambda *_: backend,
        threads=1,
        observer_for=lambda *_: observed,
        inline_below_s=1.0,
        pixel_limit=100,
        clock=time.perf_counter,
    )

    async def main():
        model = loader.load("words", 1)
        backend.batches.clear()
        backend.fails = fails
        bench = BatchingBenchmark(
            model,
            golden,
            Load(concurrency=concurrency, seconds=0.05),
            curve=LatencyCurve((1, 8), [(1e-5, 1e-5)]),
            clock=time.perf_counter,
        )
        try:
            return await bench.measure(settings, on_slice=lambda: slices.append(1))
        finally:
            assert not backend.closed
            model.batcher.close()

    measurements = asyncio.run(main())
    assert backend.closed
    assert len(slices) == REPEATS * len(settings)
    return measurements, backend, observed


def test_the_batches_follow_the_setting_and_have_the_golden_texts_at_their_lengths(tmp_path):
    setting = Setting(max_batch_size=3)
    [measurement], backend, observed = run_bench(tmp_path, [setting])
    assert measurement.setting is setting
    assert 0 < measurement.p50_ms <= measurement.p99_ms
    assert measurement.instances_per_s > 0
    assert max(rows for rows, _ in observed.batches) == 3
    assert len({length for batch in backend.batches for length in batch}) > 3


def test_length_buckets_of_a_setting_keep_lengths_apart(tmp_path):
    _, backend, observed = run_bench(tmp_path, [Setting(max_batch_size=4, length_buckets=(4, 16))])
    assert "bucket" in {reason for _, reason in observed.batches}
    assert all(max(batch) <= 4 or min(batch) > 4 for batch in backend.batches)


def test_more_clients_than_the_batch_size_are_all_answered(tmp_path):
    [one], _, observed = run_bench(tmp_path, [Setting(max_batch_size=1)], concurrency=16)
    assert one.instances_per_s > 0
    assert not observed.dropped


def test_a_backend_that_fails_ends_the_measurement_with_its_error(tmp_path):
    with pytest.raises(BackendFailed, match="out of memory"):
        run_bench(tmp_path, [Setting(max_batch_size=4)], fails=True)


# serving.json


def test_only_the_tuned_keys_change(tmp_path):
    before = {
        "version_policy": {"all": True},
        "version_labels": {"größte": 1},
        "batching": {"max_queue_rows": 7, "max_batch_size": 4, "default_timeout_ms": 50},
    }
    (tmp_path / "serving.json").write_text(json.dumps(before))
    path = write_batching(tmp_path, {"max_batch_size": 16, "max_queue_delay_us": 200})
    assert path == tmp_path / "serving.json"
    batching = {"max_queue_rows": 7, "max_batch_size": 16, "default_timeout_ms": 50, "max_queue_delay_us": 200}
    assert json.loads(path.read_text(encoding="utf-8")) == before | {"batching": batching}
    assert read_policy(tmp_path).batching.max_batch_size == 16
    assert os.listdir(tmp_path) == ["serving.json"]


def test_a_model_without_a_file_gets_one_that_all_users_may_read(tmp_path):
    path = write_batching(tmp_path, {"length_buckets": [8, 16]})
    assert json.loads(path.read_text()) == {"batching": {"length_buckets": [8, 16]}}
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path):
    model, shared = tmp_path / "model", tmp_path / "shared.json"
    model.mkdir()
    shared.write_text("{}")
    shared.chmod(0o640)
    (model / "serving.json").symlink_to(shared)
    write_batching(model, {"max_batch_size": 2})
    assert (model / "serving.json").is_symlink()
    assert json.loads(shared.read_text()) == {"batching": {"max_batch_size": 2}}
    assert shared.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "not JSON: "),
        ('{"batching": {"max_batch_size": 0}}', "batching.max_batch_size"),
        ('{"batching": {"max_batch": 1}}', "unknown key 'max_batch' in batching"),
        ('{"batching": {"max_batch_size": 4, "allowed_batch_sizes": [2, 4]}}', "state max_batch_size 4"),
    ],
)
def test_a_file_that_is_invalid_or_would_be_is_left_as_it_is(tmp_path, text, error):
    path = tmp_path / "serving.json"
    path.write_text(text)
    with pytest.raises(VersionRefused, match=error):
        write_batching(tmp_path, {"max_batch_size": 16})
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["serving.json"]


def test_a_write_that_fails_leaves_only_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "serving.json"
    path.write_text("{}")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_batching(tmp_path, {"max_batch_size": 16})
    assert path.read_text() == "{}"
    assert os.listdir(tmp_path) == ["serving.json"]
