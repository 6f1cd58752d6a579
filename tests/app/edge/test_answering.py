"""The scope of every inference request: what is counted, logged and kept loaded, with every outcome of the request."""

import asyncio
import logging
from contextlib import suppress
from types import SimpleNamespace

import pytest

from app.batching.work import RequestOptions
from app.edge.accounting import Caller
from app.edge.answering import Answering, ClientLeft
from app.edge.call import Call, Route
from app.edge.entry.access_log import AccessLog
from app.errors import BackendFailed, DeadlineExceeded, InvalidInput, QueueFull, Unauthenticated, VersionNotFound
from app.lifecycle.asleep import Asleep
from app.loaded import Leases
from tests.support.fakes import FakeClock


class FakeBatcher:
    """Records the calls that come before a body is read."""

    rules = SimpleNamespace(level=lambda priority: priority or 2)

    def __init__(self, refusal):
        self.asked, self.refusal = [], refusal

    def check_open(self, **given):
        self.asked.append(given)
        if self.refusal is not None:
            raise self.refusal


def fake_model(version, *, waiting=0, refusal=None):
    admission = SimpleNamespace(
        rows=waiting, decoding=0, turnover=0, instances=1, draining=False, check_open=lambda: None
    )
    return SimpleNamespace(
        name="m",
        version=version,
        leases=Leases(),
        admission=admission,
        batcher=FakeBatcher(refusal),
        timeout_s=lambda options: 7.0 if options.timeout_s is None else options.timeout_s,
    )


class FakeRollout:
    """Sends requests with the key "canary" to the canary."""

    sticky_header = "x-user"

    def __init__(self, stable, canary, *, splits=True):
        self.stable, self.canary, self.splits, self.seen = stable, canary, splits, []

    def choose(self, key):
        return self.canary if key == b"canary" else self.stable

    def answered(self, model, code):
        self.seen.append((model.version, code))


class FakeRegistry:
    """One model with a default version."""

    def __init__(self, model, rollout=None):
        self.model, self.canary = model, rollout
        self.asleep = Asleep()

    def get(self, name, version=None, label=None):
        if version not in {None, self.model.version} or label not in {None, "stable"}:
            raise VersionNotFound("no such version")
        return self.model

    def rollout(self, name):
        return self.canary


class Told:
    """Remembers what was counted."""

    def __init__(self):
        self.requests = []

    def request_done(self, *, model, protocol, code, seconds, timings, trace_id=None):
        self.requests.append((None if model is None else model.version, protocol, code, seconds))


class FakeProtocol(Answering):
    """A protocol whose steps a test supplies."""

    def __init__(self, registry, *, reply, admit=lambda call: None, options=None, access="all"):
        self.told, self.time = Told(), FakeClock()
        super().__init__(
            registry=registry,
            decoding=None,
            observer=self.told,
            access_log=AccessLog.parse(access),
            clock=self.time,
        )
        self._reply, self._admit, self._options = reply, admit, options
        self.key, self.keys_read, self.reads = b"", [], 0

    def admit(self, call):
        self._admit(call)

    async def read(self, call):
        self.reads += 1
        await asyncio.sleep(0)

    def rollout_key(self, call, header):
        self.keys_read.append(header)
        return self.key

    def options(self, call, model):
        return self._options

    async def reply(self, call, model):
        self.time.now += 0.5
        return await self._reply(call, model)

    def refused(self, call, error):
        return "refused" if error is None else error.message

    def caller(self, call):
        return Caller("7", "client:1", "a key")

    def traceparent(self, call):
        return None

    def size(self, reply):
        return len(reply)


class SlowCall(Call):
    """A request of which a part still has to arrive."""

    is_whole = False


def call(kind=Call, **named):
    route = Route("v1", "m", named.get("version"), named.get("label"), "predict", "v1:predict", is_inference=True)
    return kind(route=route, began=100.0)


def answer(protocol, asked):
    return asyncio.run(protocol.answer(asked))


async def version_of(_, model):
    return f"version {model.version}"


def raising(error):
    async def reply(_call, _model):
        raise error

    return reply


def access_line(caplog):
    [record] = [each for each in caplog.records if each.name == "atelier.access"]
    return record.fields


def test_an_answer_is_counted_with_its_seconds_and_written_to_the_access_log(caplog):
    caplog.set_level(logging.INFO)
    protocol = FakeProtocol(FakeRegistry(fake_model(3)), reply=version_of)
    assert answer(protocol, call()) == "version 3"
    assert protocol.told.requests == [(3, "v1:predict", 200, 0.5)]
    assert access_line(caplog) == {
        "request_id": "7",
        "client": "client:1",
        "key": "a key",
        "protocol": "v1:predict",
        "model": "m",
        "version": 3,
        "code": 200,
        "bytes": 9,
        "ms": 500.0,
    }


@pytest.mark.parametrize(
    ("error", "code", "level"),
    [
        (InvalidInput("bad"), 400, logging.DEBUG),
        (QueueFull("full"), 429, logging.DEBUG),
        (BackendFailed("broken"), 500, logging.ERROR),
    ],
)
def test_an_error_is_replied_counted_and_logged_as_a_client_or_server_fault(caplog, error, code, level):
    caplog.set_level(logging.DEBUG)
    protocol = FakeProtocol(FakeRegistry(fake_model(3)), reply=raising(error))
    assert answer(protocol, call()) == error.message
    assert protocol.told.requests == [(3, "v1:predict", code, 0.5)]
    [line] = [each for each in caplog.records if each.name == "atelier.edge"]
    assert (line.levelno, line.exc_info, line.fields) == (level, None, {"request_id": "7", "version": 3})
    word = "failed" if code == 500 else "refused"
    assert line.getMessage() == f"predict of model m {word} with {code}: {error.message}"
    assert access_line(caplog)["bytes"] == len(error.message)


def test_a_mistake_of_ours_is_answered_without_its_text_and_logged_with_its_traceback(caplog):
    protocol = FakeProtocol(FakeRegistry(fake_model(3)), reply=raising(RuntimeError("secret")))
    assert answer(protocol, call()) == "refused"
    assert protocol.told.requests == [(3, "v1:predict", 500, 0.5)]
    [line] = [each for each in caplog.records if each.name == "atelier.edge"]
    assert str(line.exc_info[1]) == "secret"


@pytest.mark.parametrize("error", [ClientLeft(), asyncio.CancelledError()])
def test_a_client_that_left_is_counted_and_gets_no_reply(caplog, error):
    caplog.set_level(logging.INFO)
    protocol = FakeProtocol(FakeRegistry(fake_model(3)), reply=raising(error))
    with pytest.raises(type(error)):
        answer(protocol, call())
    assert protocol.told.requests == [(3, "v1:predict", 499, 0.5)]
    assert "bytes" not in access_line(caplog)


@pytest.mark.parametrize("error", [Unauthenticated("no key"), RuntimeError("a bug in the check")])
def test_a_caller_without_permission_gets_no_information_about_the_model(error):
    def refuse(_call):
        raise error

    protocol = FakeProtocol(FakeRegistry(fake_model(3)), reply=version_of, admit=refuse)
    assert "version" not in answer(protocol, call())
    assert [(model, code) for model, _, code, _ in protocol.told.requests] == [
        (None, 401 if isinstance(error, Unauthenticated) else 500)
    ]


@pytest.mark.parametrize("error", [None, InvalidInput("bad"), RuntimeError("a bug"), ClientLeft()])
def test_the_version_stays_loaded_until_the_reply_with_every_outcome(error):
    model = fake_model(3)
    held = []

    async def reply(_call, _model):
        held.append(model.leases._count)
        if error is not None:
            raise error
        return "fine"

    protocol = FakeProtocol(FakeRegistry(model), reply=reply)
    with suppress(ClientLeft):
        answer(protocol, call())
    assert (held, model.leases._count) == ([1], 0)


@pytest.mark.parametrize(("key", "version"), [(b"canary", 4), (b"another", 3)])
def test_the_canary_answers_its_share_and_the_outcomes_are_counted(key, version):
    stable, canary = fake_model(3), fake_model(4)
    rollout = FakeRollout(stable, canary)
    protocol = FakeProtocol(FakeRegistry(stable, rollout), reply=version_of)
    protocol.key = key
    assert answer(protocol, call()) == f"version {version}"
    assert protocol.keys_read == ["x-user"]
    assert rollout.seen == [(version, 200)]
    assert protocol.told.requests[0][0] == version


@pytest.mark.parametrize("asked", [{"version": "3"}, {"label": "stable"}])
def test_a_request_for_a_version_or_a_label_never_goes_to_the_canary(asked):
    stable = fake_model(3)
    rollout = FakeRollout(stable, fake_model(4))
    protocol = FakeProtocol(FakeRegistry(stable, rollout), reply=version_of)
    protocol.key = b"canary"
    assert answer(protocol, call(**asked)) == "version 3"
    assert (protocol.keys_read, rollout.seen) == ([], [])


def test_a_failure_of_the_canary_is_reported_to_its_rollout():
    stable, canary = fake_model(3), fake_model(4)
    rollout = FakeRollout(stable, canary)
    protocol = FakeProtocol(FakeRegistry(stable, rollout), reply=raising(BackendFailed("broken")))
    protocol.key = b"canary"
    answer(protocol, call())
    assert rollout.seen == [(4, 500)]


@pytest.mark.parametrize(("is_own", "seen"), [(False, [(4, 504)]), (True, [])])
def test_a_timeout_that_the_client_has_set_is_not_a_failure_of_the_canary(is_own, seen):
    stable, canary = fake_model(3), fake_model(4)
    rollout = FakeRollout(stable, canary)

    async def late(asked, _model):
        asked.has_own_timeout = is_own
        raise DeadlineExceeded("late")

    protocol = FakeProtocol(FakeRegistry(stable, rollout), reply=late)
    protocol.key = b"canary"
    answer(protocol, call())
    assert rollout.seen == seen
    assert protocol.told.requests[0][2] == 504


@pytest.mark.parametrize("is_canary_gone", [True, False])
def test_versions_that_change_while_a_request_is_read_are_those_that_answer(is_canary_gone):
    before, after = FakeRollout(fake_model(3), fake_model(4)), FakeRollout(fake_model(5), fake_model(6))
    registry = FakeRegistry(before.stable, before)
    protocol = FakeProtocol(registry, reply=version_of)
    protocol.key = b"canary"

    async def main():
        answering = asyncio.create_task(protocol.answer(call(SlowCall)))
        await asyncio.sleep(0)
        registry.model, registry.canary = after.stable, None if is_canary_gone else after
        return await answering

    assert asyncio.run(main()) == ("version 5" if is_canary_gone else "version 6")
    assert before.seen == []
    assert after.seen == ([] if is_canary_gone else [(6, 200)])


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (None, {}),
        (RequestOptions(), {"level": 2, "left_s": 7.0}),
        (RequestOptions(priority=1, timeout_s=3.0), {"level": 1, "left_s": 3.0}),
    ],
)
@pytest.mark.parametrize("kind", [Call, SlowCall])
def test_a_request_that_cannot_be_admitted_is_refused_before_it_is_read(options, asked, kind):
    model = fake_model(3, waiting=1, refusal=QueueFull("full"))
    protocol = FakeProtocol(FakeRegistry(model), reply=version_of, options=options)
    assert answer(protocol, call(kind)) == "full"
    assert protocol.reads == 0
    assert model.batcher.asked == [asked]
    assert protocol.told.requests == [(3, "v1:predict", 429, 0.0)]


def test_a_request_that_is_still_being_read_has_no_lease_on_a_version():
    async def main():
        model = fake_model(3)
        protocol = FakeProtocol(FakeRegistry(model), reply=version_of)
        answering = asyncio.create_task(protocol.answer(call(SlowCall)))
        await asyncio.sleep(0)
        assert (protocol.reads, model.leases._count) == (1, 0)
        return await answering

    assert asyncio.run(main()) == "version 3"


def test_a_request_that_may_be_the_canarys_is_read_even_if_the_default_version_is_full():
    stable = fake_model(3, waiting=1, refusal=QueueFull("full"))
    protocol = FakeProtocol(FakeRegistry(stable, FakeRollout(stable, fake_model(4))), reply=version_of)
    protocol.key = b"canary"
    assert answer(protocol, call(SlowCall)) == "version 4"


def test_without_an_access_log_no_line_is_written(caplog):
    caplog.set_level(logging.INFO)
    protocol = FakeProtocol(FakeRegistry(fake_model(3)), reply=version_of, access="off")
    answer(protocol, call())
    assert caplog.records == []
