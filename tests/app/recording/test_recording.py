"""Recording one model: which requests, what is lost and counted, and that nothing waits for the disk."""

import asyncio
import logging
import os
import threading
import weakref
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from app.batching.work import Prediction
from app.contract.model_spec import ModelSpec
from app.contract.recordings.directory import RecordingDirectory
from app.contract.recordings.reading import read_recordings
from app.contract.steps import Classification
from app.contract.tensor_spec import TensorSpec
from app.recording import recording as module
from app.recording.recordings import Recordings
from app.recording.writer import Writer
from app.repository.recording_policy import RecordingPolicy
from tests.support.fakes import until

SPEC = ModelSpec(
    name="m",
    inputs=(TensorSpec(name="x", dtype="uint8", shape=(2,)),),
    outputs=(TensorSpec(name="scores", dtype="float32", shape=(2,)),),
    postprocessing=Classification(output="scores", labels=("no", "yes")),
    opset=17,
    trained_on="nothing",
)
MODEL = SimpleNamespace(name="m", version=3, spec=SPEC, classes=("no", "yes"), signature="serving_default")


class Told:
    """Remembers what was counted."""

    def __init__(self):
        self.recorded, self.dropped = Counter(), Counter()

    def rows_recorded(self, name, version, count):
        self.recorded[name, version] += count

    def recording_dropped(self, name, version, reason, count):
        self.dropped[name, version, reason] += count


def take(recording, request_id="a", rows=1, value=1, model=MODEL):
    inputs = {"x": np.full((rows, 2), value, np.int64)}  # as JSON is decoded
    outputs = {"scores": np.tile(np.array([[0.25, 0.75]], np.float32), (rows, 1))}
    recording.take(model, inputs, Prediction(outputs, rows), texts={}, request_id=request_id, protocol="v1:predict")


@pytest.fixture
def place(tmp_path):
    return RecordingDirectory.of(tmp_path, "m").path


def run(tmp_path, scenario, *, policy=None, **bounds):
    """Runs a scenario with a recording; returns what was counted once all is written."""
    told = Told()

    async def main():
        recordings = Recordings(tmp_path, told, Writer(**bounds))
        await scenario(recordings.start("m", policy or RecordingPolicy()), told)
        await asyncio.to_thread(recordings.close, 10)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    return told


def test_an_instance_is_recorded_as_the_model_received_it(tmp_path, place):
    async def scenario(recording, _):
        take(recording, "one")
        take(recording, "two", rows=2, value=255)

    told = run(tmp_path, scenario)
    found = list(read_recordings(place))
    assert [(each.request_id, each.instance, each.instances) for each in found] == [
        ("one", 0, 1),
        ("two", 0, 2),
        ("two", 1, 2),
    ]
    assert found[2].inputs["x"].dtype == np.uint8
    assert found[2].inputs["x"].tolist() == [255, 255]
    assert found[2].outputs["scores"].tolist() == [0.25, 0.75]
    assert (found[2].label, found[2].score, found[2].version) == ("yes", 0.75, 3)
    assert (told.recorded, told.dropped) == ({("m", 3): 3}, {})


def test_a_share_of_the_requests_is_recorded(tmp_path, place):
    draws = iter([0.0, 0.29, 0.3, 0.99, 0.1])

    async def scenario(recording, _):
        recording._draw = lambda: next(draws)
        for name in "abcde":
            take(recording, name)

    run(tmp_path, scenario, policy=RecordingPolicy(sample=0.3))
    assert [each.request_id for each in read_recordings(place)] == ["a", "b", "e"]


def test_with_a_share_of_zero_or_without_a_directory_it_is_off(tmp_path):
    told = Told()
    assert not Recordings(tmp_path, told).start("m", RecordingPolicy(sample=0)).is_on
    nowhere = Recordings(None, told).start("m", RecordingPolicy())
    assert not nowhere.is_on
    take(nowhere)
    assert Recordings(tmp_path, told).start("m", RecordingPolicy(sample=0.001)).is_on


def test_a_stalled_disk_delays_no_request_and_what_does_not_fit_is_counted(tmp_path, place, monkeypatch):
    stalled, released = threading.Event(), threading.Event()
    real = module.append

    def stall(*arguments, **keywords):
        stalled.set()
        assert released.wait(30)
        return real(*arguments, **keywords)

    monkeypatch.setattr(module, "append", stall)

    async def scenario(recording, told):
        take(recording, "first")
        await until(stalled.is_set)
        for number in range(10):
            take(recording, str(number), rows=2)  # returns although nothing is written
        assert told.dropped == {("m", 3, "queue_full"): 14}
        assert not place.exists()
        released.set()

    told = run(tmp_path, scenario, most_waiting=4)
    assert told.recorded == {("m", 3): 7}
    assert [each.request_id for each in read_recordings(place)] == ["first", "0", "0", "1", "1", "2", "2"]


def test_the_queue_is_bounded_in_bytes(tmp_path):
    async def scenario(recording, _):
        take(recording, rows=1000)

    assert run(tmp_path, scenario, most_waiting_bytes=10_000).dropped == {("m", 3, "queue_full"): 1000}


def test_at_the_end_a_disk_that_does_not_answer_is_left_alone(tmp_path, monkeypatch, caplog):
    released = threading.Event()
    monkeypatch.setattr(module, "append", lambda *_, **__: released.wait(30) and 1)

    async def main():
        recordings = Recordings(tmp_path, Told())
        take(recordings.start("m", RecordingPolicy()))
        await asyncio.to_thread(recordings.close, 0.05)

    asyncio.run(main())
    released.set()
    assert "1 recorded requests are not written: the disk does not answer" in caplog.text


def test_a_directory_that_cannot_be_written_is_logged_once_and_each_instance_counted(tmp_path, place, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "recordings").write_bytes(b"")  # a file in place of the directory

    async def scenario(recording, told):
        for number in range(3):
            take(recording, str(number))
            await until(lambda number=number: told.dropped["m", 3, "disk"] == number + 1)
        (tmp_path / "recordings").unlink()
        take(recording, "again")
        await until(lambda: told.recorded["m", 3])

    told = run(tmp_path, scenario)
    assert told.dropped == {("m", 3, "disk"): 3}
    errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert errors == [f"model m: requests are not recorded: {place}: Not a directory"]
    assert "model m: requests are recorded again" in caplog.text
    assert [each.request_id for each in read_recordings(place)] == ["again"]


def test_a_fifo_in_place_of_the_file_blocks_nothing(tmp_path, place):
    place.mkdir(parents=True)
    os.mkfifo(place / "0000000001.jsonl")

    async def scenario(recording, told):
        take(recording)
        await until(lambda: told.dropped)

    assert run(tmp_path, scenario).dropped == {("m", 3, "disk"): 1}


def test_an_instance_longer_than_a_file_is_left_out(tmp_path, place, monkeypatch):
    monkeypatch.setattr(RecordingPolicy, "max_file_bytes", 400)

    async def scenario(recording, _):
        take(recording, "short")
        take(recording, "x" * 300)

    told = run(tmp_path, scenario)
    assert (told.recorded, told.dropped) == ({("m", 3): 1}, {("m", 3, "too_large"): 1})
    assert [each.request_id for each in read_recordings(place)] == ["short"]


def test_a_request_that_cannot_be_recorded_does_not_stop_the_others(tmp_path, place, caplog):
    async def scenario(recording, _):
        take(recording, "bad", value=256)  # never answered by a real model
        take(recording, "good")

    told = run(tmp_path, scenario)
    assert (told.recorded, told.dropped) == ({("m", 3): 1}, {("m", 3, "failed"): 1})
    assert "request bad to model m cannot be recorded" in caplog.text


def test_a_version_is_not_kept_in_memory_once_its_requests_are_written(tmp_path):
    async def scenario(recording, told):
        class Version(SimpleNamespace):
            pass

        model = Version(**vars(MODEL))
        kept = weakref.ref(model)
        take(recording, model=model)
        del model
        await until(lambda: told.recorded)
        await until(lambda: kept() is None)

    run(tmp_path, scenario)


def test_versions_are_counted_apart(tmp_path):
    async def scenario(recording, _):
        for version in (3, 4, 3):
            take(recording, model=SimpleNamespace(**{**vars(MODEL), "version": version}))

    assert run(tmp_path, scenario).recorded == {("m", 3): 2, ("m", 4): 1}
