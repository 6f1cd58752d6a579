"""Commands in all workers: the answer if they differ; canaries that are halted in all of them."""

import asyncio
import json
from dataclasses import asdict

import pytest

from app.errors import Draining, ModelNotFound, ServingError, VersionRefused
from app.repository.repository import Repository
from app.repository.serving_file import Promotion
from app.rollout.comparison import Comparison
from app.workers.channel import ChannelClosed
from app.workers.coordinator import Coordinator
from tests.support.tiny_models import write_brightness_model


class FakeWorker:
    """Answers each call with a value, or raises it if it is an error."""

    def __init__(self, number, **answers):
        self.number, self.answers, self.calls, self.told = number, answers, [], []
        self.channel = self

    def __str__(self):
        return f"worker {self.number} (process {self.number}00)"

    async def call(self, name, /, **_):
        self.calls.append(name)
        answer = self.answers.get(name)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def tell(self, name, /, **arguments):
        self.calls.append(name)
        self.told.append(arguments)


@pytest.fixture
def models(tmp_path):
    write_brightness_model(tmp_path)
    write_brightness_model(tmp_path, version=2)
    return tmp_path


def test_an_error_of_one_worker_names_it(models):
    workers = [FakeWorker(1), FakeWorker(2, load=VersionRefused("no memory"))]
    with pytest.raises(VersionRefused, match=r"^worker 2 \(process 200\): no memory$"):
        asyncio.run(Coordinator(Repository(models), lambda: workers).load("brightness"))


def test_an_error_of_all_workers_is_reported_as_by_a_single_process(models):
    workers = [FakeWorker(number, load=VersionRefused("broken")) for number in (1, 2)]
    with pytest.raises(VersionRefused, match=r"^broken$"):
        asyncio.run(Coordinator(Repository(models), lambda: workers).load("brightness"))


def test_a_worker_that_ends_during_the_call_does_not_count(models):
    workers = [FakeWorker(1, load=ChannelClosed()), FakeWorker(2)]
    asyncio.run(Coordinator(Repository(models), lambda: workers).load("brightness"))
    with pytest.raises(ServingError, match="load was done by no worker: all have ended"):
        asyncio.run(Coordinator(Repository(models), lambda: workers[:1]).load("brightness"))


def test_the_file_is_written_only_if_all_workers_have_loaded_the_version(models):
    workers = [FakeWorker(1), FakeWorker(2, prepare=VersionRefused("does not fit"))]
    with pytest.raises(VersionRefused, match="worker 2"):
        asyncio.run(Coordinator(Repository(models), lambda: workers).promote("brightness", 1))
    assert [worker.calls for worker in workers] == [["default_version", "prepare", "follow"]] * 2
    assert not (models / "brightness" / "serving.json").exists()


def test_a_promotion_is_written_between_its_two_halves(models):
    seen = []

    class Looking(FakeWorker):
        async def call(self, name, /, **_):
            seen.append((name, (models / "brightness" / "serving.json").exists()))

    coordinator = Coordinator(Repository(models), lambda: [Looking(1), Looking(2)])
    coordinator.unloaded["brightness"] = [2]
    done = asyncio.run(coordinator.promote("brightness", 1))
    assert done == Promotion("brightness", 1, 2)
    assert seen == [("default_version", False)] * 2 + [("prepare", False)] * 2 + [("settle", True)] * 2
    assert coordinator.unloaded == {}


@pytest.mark.parametrize(
    ("answers", "before"),
    [([2, 2], 2), ([None, 2], 2), ([2, 3, 2], 2), ([None, None], 3)],
    ids=["all", "one that serves nothing", "most", "none: the newest on the disk"],
)
def test_a_promotion_starts_from_the_version_that_answers_in_the_workers(models, answers, before):
    write_brightness_model(models, version=3)
    workers = [FakeWorker(number, default_version=answer) for number, answer in enumerate(answers, 1)]
    coordinator = Coordinator(Repository(models), lambda: workers)
    assert asyncio.run(coordinator.promote("brightness", 1)).before == before
    for worker in workers:
        worker.answers["default_version"] = 1
    back = asyncio.run(coordinator.rollback("brightness"))
    assert (back.version, back.before) == (before, 1)


def test_an_unloaded_model_is_remembered_until_it_is_loaded(models):
    workers = [FakeWorker(1, unload=[2]), FakeWorker(2, unload=[2, 1])]
    coordinator = Coordinator(Repository(models), lambda: workers)
    asyncio.run(coordinator.unload("brightness", 1.0))
    assert coordinator.unloaded == {"brightness": [1, 2]}
    asyncio.run(coordinator.load("brightness"))
    assert coordinator.unloaded == {}
    workers[0].answers["unload"] = workers[1].answers["unload"] = ModelNotFound("no such model")
    with pytest.raises(ModelNotFound):
        asyncio.run(coordinator.unload("nope", 1.0))
    assert coordinator.unloaded == {}


def test_a_service_that_shuts_down_takes_no_commands(models):
    coordinator = Coordinator(Repository(models), lambda: [FakeWorker(1)])
    coordinator.draining = True
    for command in (coordinator.load("brightness"), coordinator.promote("brightness", 1)):
        with pytest.raises(Draining):
            asyncio.run(command)


@pytest.mark.parametrize(("canary", "calls"), [(2, ["halt", "halt", "follow"]), (3, ["halt"])])
def test_a_halt_names_the_versions_and_is_written_only_for_them(models, canary, calls):
    path = models / "brightness" / "serving.json"
    rollout = {"rollback": {"max_error_rate": 0.1, "min_requests": 4}}
    path.write_text(json.dumps({"version_labels": {"stable": 1, "canary": canary}, "rollout": rollout}))
    seen = asdict(Comparison(requests=5, errors=5))
    workers = [FakeWorker(1), FakeWorker(2)]
    counts = {"number": 1, "metrics": {"rollouts": [["brightness", 1, 2, seen, False]]}}
    asyncio.run(Coordinator(Repository(models), lambda: workers).judge(1, counts))
    reason = "5 of 5 requests failed, more than max_error_rate 0.1 allows"
    for worker in workers:
        assert worker.calls == calls
        halted = {"name": "brightness", "stable": 1, "canary": 2, "reason": reason}
        assert worker.told[0] == halted | {"is_written": False}
        assert canary == 3 or worker.told[1] == halted | {"is_written": True}
    written = json.loads(path.read_text())["rollout"]
    assert written == (rollout | {"halted": reason} if canary == 2 else rollout)
