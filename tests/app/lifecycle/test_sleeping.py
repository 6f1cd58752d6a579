"""Models that sleep, and the memory limit, in sequences of events that are hard to reach from outside."""

import asyncio
import shutil
import time
from contextlib import suppress

import pytest

from app.errors import NoRoom, ServingError, SettingsUnwritable
from app.lifecycle.asleep import Asleep
from app.lifecycle.lifecycle import Lifecycle
from app.lifecycle.registry import Registry
from app.lifecycle.versions import State
from app.repository.policy import ServingPolicy
from app.repository.repository import Repository
from tests.support.tiny_disk import FakeLoader, write_empty_versions, write_settings

LIMIT = 100


class SizedLoader(FakeLoader):
    """Versions of a stated size; remembers what was loaded and closed."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes, self.loads, self.closed = sizes, [], []
        self.measures = True

    def __call__(self, name, version, policy):
        model = super().__call__(name, version, policy)
        self.loads.append((name, version))
        size = self.sizes[name, version]
        model.memory_bytes = size(policy) if callable(size) else size
        model.memory_is_measured = self.measures
        model.batcher.close = lambda: self.closed.append((name, version))
        return model


class Store:
    """A lifecycle over versions of stated sizes."""

    def __init__(self, place, sizes, *, on_request=False):
        for name, version in sizes:
            write_empty_versions(place, version, name=name)
        self.place = place
        repository = Repository(place)
        self.registry = Registry(scan=repository.scan, on_state=lambda *_: None)
        self.loader = SizedLoader(sizes)
        self.lifecycle = Lifecycle(
            self.registry,
            repository,
            load=self.loader,
            load_timeout_s=30,
            on_load=lambda *_: None,
            memory_limit_bytes=LIMIT,
            loads_on_request=on_request,
        )

    async def load(self, name, *versions):
        await self.lifecycle._sleeping.load(name, list(versions))

    async def ask(self, name):
        """What a request gets: the version, or the message of the error."""
        try:
            return (await self.registry.described(name)).version
        except ServingError as error:
            return error.message

    def settings(self, name, **policy):
        write_settings(self.place / name, ServingPolicy.model_validate(policy))

    @property
    def loaded(self):
        return [(model.name, model.version) for model in self.registry.loaded()]


@pytest.fixture
def store(tmp_path):
    return lambda sizes, **options: Store(tmp_path, sizes, **options)


def test_a_model_of_which_one_version_has_no_room_does_not_sleep(store):
    found = store({("m", 1): 60, ("m", 2): 60, ("o", 1): 30}, on_request=True)
    found.settings("m", version_policy={"latest": {"num_versions": 2}})

    async def act():
        await found.lifecycle.load_all()
        for _ in range(3):
            assert await found.ask("o") == 1
            assert await found.ask("m") == 2
        assert found.loader.loads.count(("o", 1)) == 1

    asyncio.run(act())


def test_only_the_versions_that_the_next_request_loads_are_ready_while_a_model_sleeps(store):
    found = store({("m", 1): 10, ("m", 2): 10, ("m", 3): 10}, on_request=True)

    def ready():
        versions = []
        for version in (None, 1, 2, 3):
            with suppress(ServingError):
                found.registry.check_ready("m", version)
                versions.append(version)
        return versions

    async def act():
        await found.lifecycle.load_all()
        assert ready() == [None, 3]
        await found.registry.wake("m", 3)
        assert found.loaded == [("m", 3)]
        assert ready() == [None, 3]
        await found.lifecycle._sleeping.sleep("m")
        assert ready() == [None, 3]
        found.settings("m", version_policy={"specific": {"versions": (1, 2)}}, version_labels={"old": 1})
        await found.lifecycle.follow("m")
        assert ready() == [None, 1, 2]
        with pytest.raises(ServingError, match="not loaded: version_policy asks for other versions"):
            found.registry.check_ready("m", 3)
        await found.registry.wake("m", 3)
        assert found.loaded == []
        await found.registry.wake("m", 1)
        assert found.loaded == [("m", 1), ("m", 2)]

    asyncio.run(act())


def test_a_load_command_without_room_leaves_the_model_asleep(store, monkeypatch):
    monkeypatch.setattr("app.lifecycle.memory_limit.PATIENCE_S", 0.1)
    found = store({("a", 1): 60, ("b", 1): 60}, on_request=True)

    async def act():
        await found.lifecycle.load_all()
        assert await found.ask("a") == 1
        async with found.lifecycle._locks["a"]:  # it is being changed
            with pytest.raises(NoRoom):
                await found.lifecycle.load("b")
        assert await found.ask("b") == 1

    asyncio.run(act())


def test_a_version_that_was_too_large_is_loaded_with_settings_that_make_it_smaller(store):
    found = store({("a", 1): lambda policy: 60 * policy.instances})
    found.settings("a", instances=2)

    async def act():
        await found.lifecycle.load_all()
        assert found.loaded == []
        found.settings("a", instances=1)
        await found.lifecycle.load("a")
        assert found.loaded == [("a", 1)]

    asyncio.run(act())


def test_a_version_that_is_only_estimated_to_be_too_large_serves_alone(store):
    found = store({("a", 1): 20, ("b", 1): 600})

    async def act():
        found.loader.measures = False
        found.settings("b", version_labels={"stable": 1})
        await found.lifecycle.load_all()
        assert await found.ask("b") == 1
        assert found.loaded == [("b", 1)]
        assert await found.ask("a") == 1
        found.loader.measures = True
        assert "takes about" in await found.ask("b")
        assert found.loaded == [("a", 1)]

    asyncio.run(act())


def test_nothing_is_unloaded_for_a_version_that_would_not_fit_even_then(store):
    found = store({("a", 1): 60, ("b", 1): 20, ("c", 1): 20})

    async def act():
        await found.lifecycle.load_all()
        write_empty_versions(found.place, 2, name="a")
        found.loader.sizes["a", 2] = 60
        assert await found.lifecycle.follow("a") == 30
        assert found.loaded == [("a", 1), ("b", 1), ("c", 1)]

    asyncio.run(act())


def test_a_promotion_that_cannot_be_written_leaves_a_sleeping_model_unloaded(store, monkeypatch):
    found = store({("a", 1): 60, ("a", 2): 60}, on_request=True)
    found.settings("a", version_labels={"stable": 1})

    def refuse(*_, **__):
        raise SettingsUnwritable("the disk is full")

    async def act():
        await found.lifecycle.load_all()
        monkeypatch.setattr(found.lifecycle.repository, "promote", refuse)
        with pytest.raises(SettingsUnwritable):
            await found.lifecycle.promote("a", 2)
        assert found.loaded == []
        assert await found.ask("a") == 1

    asyncio.run(act())


def test_a_model_that_a_command_loads_during_the_start_stays_loaded(store):
    found = store({("a", 1): 60}, on_request=True)

    async def act():
        await found.lifecycle.load("a")
        await found.lifecycle.load_all()
        assert found.registry.record("a", 1).state is State.READY
        assert await found.ask("a") == 1

    asyncio.run(act())


def test_a_load_that_needs_room_and_one_of_its_victim_do_not_wait_for_each_other(store):
    """A version without room gives back both locks while a load of the same model, and one of another one, wait."""
    found = store({("b", 1): 60, ("a", 1): 60, ("c", 1): 30})

    async def act():
        await found.load("a", 1)  # its size is known
        await found.lifecycle.unload("a", timeout_s=1)
        await found.load("b", 1)
        await found.load("c", 1)
        found.loader.sizes["b", 2] = 60
        with found.registry.default("c").leases:  # whoever unloads it holds the lock of the limit in the meantime
            write_empty_versions(found.place, 2, name="b")
            tasks = [asyncio.create_task(found.lifecycle.follow("b"))]
            await asyncio.sleep(0.1)
            tasks += [asyncio.create_task(found.lifecycle.load("b")), asyncio.create_task(found.load("a", 1))]
            await asyncio.sleep(0.1)
        _, pending = await asyncio.wait(tasks, timeout=20)
        assert pending == set()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(act())


def test_a_victim_is_closed_even_if_the_load_that_needed_its_room_is_cancelled(store):
    found = store({("a", 1): 60, ("b", 1): 60})

    async def act():
        await found.load("b", 1)
        with found.registry.default("b").leases:
            loading = asyncio.create_task(found.lifecycle.load("a"))
            await asyncio.sleep(0.2)
            loading.cancel()
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)
        assert ("b", 1) in found.loader.closed
        assert found.registry.record("b", 1).state is State.UNAVAILABLE

    asyncio.run(act())


def test_a_model_that_was_loaded_again_for_its_settings_is_not_the_first_to_sleep(store):
    found = store({("a", 1): 30, ("b", 1): 30, ("c", 1): 60})

    async def act():
        await found.load("a", 1)
        await found.load("b", 1)
        for name in "ba":
            await asyncio.sleep(0.01)
            with found.registry.default(name).leases:
                pass
        found.settings("a", max_text_characters=5)
        await found.lifecycle.load("a")
        await found.load("c", 1)
        assert found.loaded == [("a", 1), ("c", 1)]

    asyncio.run(act())


def test_a_broken_serving_json_is_the_reason_that_requests_get(store):
    found = store({("a", 1): 30}, on_request=True)
    (found.place / "a" / "serving.json").write_text("{")

    async def act():
        await found.lifecycle.load_all()
        for _ in range(2):
            assert "serving.json" in await found.ask("a")

    asyncio.run(act())


def test_the_version_before_a_promotion_is_the_one_that_served_before_the_model_slept(store):
    found = store({("a", 1): 30, ("a", 2): 30, ("a", 3): 30}, on_request=True)
    found.loader.refused = {3}

    async def act():
        await found.lifecycle.load_all()
        assert await found.ask("a") == 2
        await found.lifecycle._sleeping.sleep("a")
        assert (await found.lifecycle.promote("a", 1)).before == 2

    asyncio.run(act())


def test_a_promotion_in_effect_is_no_error_if_another_version_has_no_room(store):
    found = store({("a", 1): 60, ("a", 2): 60}, on_request=True)
    found.settings("a", version_policy={"latest": {"num_versions": 2}})

    async def act():
        await found.lifecycle.load_all()
        await found.lifecycle.promote("a", 1)
        assert await found.ask("a") == 1

    asyncio.run(act())


def test_clients_of_three_models_of_which_one_fits_are_all_answered(store):
    found = store({(name, 1): 60 for name in "abc"}, on_request=True)
    load = found.lifecycle._loads._load_blocking

    def load_slowly(*arguments):
        time.sleep(0.005)
        return load(*arguments)

    found.lifecycle._loads._load_blocking = load_slowly
    answers = []

    async def client(name):
        for _ in range(30):
            try:
                with (await found.registry.described(name)).leases:
                    await asyncio.sleep(0.001)
            except ServingError as error:
                answers.append(error.message)

    async def act():
        await found.lifecycle.load_all()
        await asyncio.gather(*(client(name) for name in "abc"))

    asyncio.run(act())
    assert answers == []


def test_a_model_whose_directory_is_away_for_a_moment_is_loaded_when_it_is_back(store):
    found = store({("a", 1): 30}, on_request=True)

    async def act():
        await found.lifecycle.load_all()
        shutil.move(found.place / "a", found.place / ".a")
        assert isinstance(await found.ask("a"), str)
        shutil.move(found.place / ".a", found.place / "a")
        assert await found.ask("a") == 1

    asyncio.run(act())


def test_a_new_model_for_which_there_is_no_room_sleeps(store, monkeypatch):
    monkeypatch.setattr("app.lifecycle.memory_limit.PATIENCE_S", 0.1)
    found = store({("a", 1): 60})

    async def act():
        await found.lifecycle.load_all()
        write_empty_versions(found.place, 1, name="b")
        found.loader.sizes["b", 1] = 60
        async with found.lifecycle._locks["a"]:  # it is being changed
            assert await found.lifecycle.follow("b") is None
        assert await found.ask("b") == 1

    asyncio.run(act())


def test_while_a_busy_model_is_unloaded_others_that_fit_are_loaded_and_the_request_does_not_wait_for_it(
    store, monkeypatch
):
    monkeypatch.setattr("app.lifecycle.memory_limit.PATIENCE_S", 0.1)
    found = store({("busy", 1): 60, ("large", 1): 60, ("small", 1): 20}, on_request=True)

    async def act():
        await found.lifecycle.load_all()
        assert await found.ask("busy") == 1
        with found.registry.get("busy").leases:  # a request that goes on
            large = asyncio.create_task(found.ask("large"))
            assert await found.ask("small") == 1
            assert "try again" in await large
        assert await found.ask("large") == 1

    asyncio.run(act())


def test_requests_that_wait_for_a_load_continue_one_in_each_turn():
    asleep, loads, done = Asleep(), [], []

    async def load(name):
        loads.append(name)
        asleep.remove(name)
        return True

    async def ask(number):
        await asleep.wake("m")
        done.append(number)

    async def act():
        asleep.names["m"] = None
        asleep.loaded_by(load)
        waiting = [asyncio.create_task(ask(number)) for number in range(100)]
        waiting[1].cancel()
        most, before = 0, 0
        while not all(each.done() for each in waiting):
            await asyncio.sleep(0)
            most, before = max(most, len(done) - before), len(done)
        assert most == 1
        assert done == [number for number in range(100) if number != 1]
        assert loads == ["m"]

    asyncio.run(act())
