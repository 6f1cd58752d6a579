"""What is kept, learned, logged and counted of requests that are answered together."""

import gc
import json
import logging
import re
import weakref

import pytest

from app.edge.connection.direct_answer import DirectAnswer
from app.edge.connection.plain_request import PlainRequest
from app.edge.joint.request import JointRequest
from app.errors import BackendFailed, BackendHung
from tests.support.fakes import until
from tests.support.joint_requests import BRIGHTNESS, JSON, OCTETS, Line, joined, message, run
from tests.support.tiny_models import SIDE, write_brightness_model, write_rule_model

PIXELS = bytes([120]) * SIDE * SIDE
RULE = "/v1/models/rule:predict"


def code(reply):
    return int(reply[9:12])


async def learned(app, line, sent):
    """Have a head known; returns the sizes of the joint requests from then on."""
    for _ in range(3):
        assert code(await line.ask(sent)) == 200
    return joined(app)


@pytest.mark.parametrize("more", [{}, {"X-Request-ID": "7"}], ids=["together", "alone"])
def test_an_idle_connection_keeps_neither_its_last_request_nor_the_version_that_answered(tmp_path, more):
    write_brightness_model(tmp_path)

    async def act(app, port):
        async with Line(port) as line:
            for _ in range(4):
                assert code(await line.ask(message(BRIGHTNESS, PIXELS, OCTETS, more=more))) == 200
            kinds = PlainRequest, JointRequest, DirectAnswer
            gc.collect()
            assert [each for each in gc.get_objects() if isinstance(each, kinds)] == []
            version = weakref.ref(app.registry.default("brightness"))
            write_brightness_model(tmp_path, version=2, bias=20)
            await app.lifecycle.load("brightness")

            def is_freed():
                gc.collect()
                return version() is None

            await until(is_freed)  # a thread that closed it may reference it for another moment

    run(tmp_path, act)


def test_a_head_is_learned_though_its_second_request_was_not_plain(tmp_path):
    write_rule_model(tmp_path)

    async def act(app, port):
        two = message(RULE, b'{"inputs": [[1.0], [2.0]]}', JSON)
        one = message(RULE, b'{"instances": [[1.0]    ]}', JSON)
        assert len(one) == len(two)
        async with Line(port) as line:
            for sent in (two, two, one, one, one, one):
                assert code(await line.ask(sent)) == 200
            sizes = joined(app)
            assert code(await line.ask(one)) == 200
            assert sizes == [1]

    run(tmp_path, act)


def test_a_head_whose_bodies_are_never_plain_is_seldom_examined(tmp_path, monkeypatch):
    write_rule_model(tmp_path)
    examined = []
    monkeypatch.setattr("app.edge.connection.known_heads.form_of", lambda *_, **__: examined.append(1))

    async def act(_, port):
        async with Line(port) as line:
            for _ in range(70):
                assert code(await line.ask(message(RULE, b'{"inputs": [[1.0], [2.0]]}', JSON))) == 200
        assert len(examined) == 6  # the 2nd, 4th, ... 64th

    run(tmp_path, act)


def test_a_fault_of_requests_that_are_answered_together_is_logged_for_each_with_its_id(tmp_path, caplog):
    write_rule_model(tmp_path)

    async def act(app, port):
        sent = message(RULE, b'{"instances": [[1.0]]}', JSON)
        async with Line(port) as first, Line(port) as second:
            sizes = await learned(app, first, sent)

            def failing(_):
                raise BackendHung("no answer within 3 s")

            app.registry.default("rule").batcher.backend.run = failing
            first.writer.write(sent)
            second.writer.write(sent)
            replies = [await line.reply() for line in (first, second)]
        assert sizes == [2]
        ids = [re.search(rb"x-request-id: (\S+)", reply)[1].decode() for reply in replies]
        lines = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert [each.fields["request_id"] for each in lines] == ids
        assert {each.getMessage() for each in lines} == {
            f"predict of model rule failed with {code(replies[0])}: no answer within 3 s"
        }

    run(tmp_path, act)


def test_replies_before_one_that_cannot_be_written_are_counted(tmp_path, monkeypatch):
    write_rule_model(tmp_path)

    async def act(app, port):
        sent = message(RULE, b'{"instances": [[1.0]]}', JSON)
        async with Line(port) as first, Line(port) as second, Line(port) as third:
            sizes = await learned(app, first, sent)
            reply, written = PlainRequest.reply, []

            def second_fails(plain, head, body):
                written.append(plain)
                if len(written) == 2:
                    plain.is_waiting = False
                    raise OSError("no such connection")
                reply(plain, head, body)

            monkeypatch.setattr(PlainRequest, "reply", second_fails)
            for line in (first, second, third):
                line.writer.write(sent)
            assert [code(await line.reply()) for line in (first, third)] == [200, 200]
            assert sizes == [3]
            metrics = (await third.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")).decode()
        [count] = re.findall(r'atelier_requests_total\{code="200",model="rule".*\} (.*)', metrics)
        assert float(count) == 6

    run(tmp_path, act)


async def fault_of_the_batcher(batcher):
    """Our own code fails, once, when it takes the next batch."""
    take = batcher._backlog.take

    def failing(now):
        batcher._backlog.take = take
        raise RuntimeError("a bug of ours")

    batcher._backlog.take = failing


async def all_fail(batcher):
    """All that waits is answered with an error, from within a task."""
    batcher.fail_unfinished(BackendFailed("the backend was closed"))


@pytest.mark.parametrize("fault", [fault_of_the_batcher, all_fail])
def test_requests_that_fail_together_while_they_wait_are_answered_alone(tmp_path, fault):
    write_rule_model(tmp_path)
    (tmp_path / "rule" / "serving.json").write_text(json.dumps({"batching": {"max_queue_delay_us": 300_000}}))

    async def act(app, port):
        sent = message(RULE, b'{"instances": [[1.0]]}', JSON)
        async with Line(port) as first, Line(port) as second:
            sizes = await learned(app, first, sent)
            for line in (first, second):
                line.writer.write(sent)
            model = app.registry.default("rule")
            await until(lambda: model.admission.rows == 2)
            await fault(model.batcher)
            assert [code(await line.reply()) for line in (first, second)] == [200, 200]
            assert code(await first.ask(sent)) == 200
        assert sizes == [2, 1]
        assert not model.leases.in_use

    run(tmp_path, act)
