"""Processes that are forks of one: what the service sees of them, and what happens when that one does not answer."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from app.runtime.engines.model_process import ModelProcess
from app.runtime.engines.process_template import ProcessTemplate
from tests.support.processes import children, is_known, is_running
from tests.support.service import ROOT, wait_until
from tests.support.stub_worker import STUB

COMMAND = (sys.executable, "-m", "tests.support.stub_template")
# Starts a fork, prints its number and that of the template, and waits.
SERVICE = """
import os, socket, sys, threading
from app.runtime.engines.process_template import ProcessTemplate
from tests.support.processes import children
lifeline, held = os.pipe()
ours, theirs = socket.socketpair()
fork = ProcessTemplate(sys.argv[1:]).fork([], theirs.fileno(), lifeline, dict(os.environ))
print(fork.pid, *children(os.getpid()), flush=True)
threading.Event().wait()
"""


class Started:
    """A fork, or None, with the other ends of what it was given."""

    def __init__(self, template, *arguments):
        self.channel, theirs = socket.socketpair()
        lifeline, self.lifeline = os.pipe()
        with theirs:
            self.process = template.fork(arguments, theirs.fileno(), lifeline, {**os.environ, "PYTHONPATH": str(ROOT)})
        os.close(lifeline)

    def ask(self, data):
        self.channel.sendall(data)
        return self.channel.recv(100)

    def close(self):
        self.channel.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stderr.close()
        os.close(self.lifeline)


@pytest.fixture
def start():
    started = []

    def begin(template, *arguments):
        started.append(Started(template, *arguments))
        return started[-1]

    yield begin
    for each in started:
        each.close()


@pytest.fixture
def template():
    return ProcessTemplate(COMMAND, idle_s=0.2)


def test_forks_have_channels_streams_and_exit_codes_of_their_own(start, template):
    one, other = start(template, "first"), start(template, "second")
    assert (one.ask(b"a"), other.ask(b"b"), one.ask(b"c")) == (b"A", b"B", b"C")
    assert (one.process.poll(), other.process.poll()) == (None, None)
    with pytest.raises(subprocess.TimeoutExpired):
        one.process.wait(0.01)
    other.process.kill()
    assert other.process.wait() == -signal.SIGKILL
    assert not is_known(other.process.pid)
    assert one.ask(b"d") == b"D"
    one.channel.close()  # the end of what it reads
    assert one.process.wait(5) == 0
    assert [each.process.stderr.readline() for each in (one, other)] == [b"first\n", b"second\n"]
    left = start(template, "leave")
    assert left.process.wait(5) == left.process.poll() == 7


def test_the_template_ends_some_time_after_its_last_fork_and_starts_again(start, template):
    own = set(children(os.getpid()))
    first = start(template, "a")
    [process] = set(children(os.getpid())) - own
    first.process.kill()
    first.process.wait()
    wait_until(lambda: not is_known(process))
    assert start(template, "b").ask(b"x") == b"X"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
def test_a_template_that_does_not_answer_is_replaced_and_its_forks_continue(start, template, sent, monkeypatch):
    monkeypatch.setattr("app.runtime.engines.process_template._FORK_TIMEOUT_S", 0.2)
    own = set(children(os.getpid()))
    first = start(template, "a")
    [process] = set(children(os.getpid())) - own
    os.kill(process, sent)
    if sent == signal.SIGKILL:
        wait_until(lambda: not is_running(process))
    assert start(template, "b").process is None  # a new interpreter starts in its place
    assert not is_known(process)
    assert first.ask(b"x") == b"X"
    assert start(template, "c").ask(b"y") == b"Y"
    first.process.kill()
    first.process.wait()
    wait_until(lambda: not is_running(first.process.pid))


@pytest.mark.parametrize(
    "command",
    [(*COMMAND, "threads"), (*COMMAND, "no-pidfds"), (sys.executable, "-c", ""), ("/nowhere/python",)],
    ids=["threads", "no-pidfds", "ends", "no"],
)
def test_without_a_template_there_is_no_fork(start, command):
    started = start(ProcessTemplate(command), "a")
    assert started.process is None
    started.channel.settimeout(5)
    assert started.channel.recv(1) == b""


@pytest.mark.parametrize(("retry_s", "is_tried"), [(0.0, True), (60.0, False)])
def test_a_template_that_could_not_fork_is_tried_again_later(start, tmp_path, retry_s, is_tried):
    cause = tmp_path / "cause"
    cause.touch()
    template = ProcessTemplate((*COMMAND, "threads", str(cause)), retry_s=retry_s)
    assert start(template, "a").process is None
    cause.unlink()
    assert (start(template, "b").process is not None) == is_tried


def test_forks_that_end_before_the_template_answers_have_their_exit_codes(start):
    template = ProcessTemplate((*COMMAND, "late"))
    assert {start(template, "leave").process.wait(5) for _ in range(40)} == {7}


def test_a_fork_that_was_not_reported_shares_no_channel_with_the_interpreter_in_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    process = ModelProcess(STUB, [str(tmp_path), "1"], template=ProcessTemplate((*COMMAND, "ends")))
    try:
        assert list(process.wait_ready(30)["signatures"]) == ["serving_default"]
    finally:
        process.kill()


def test_the_end_of_a_fork_is_noticed_while_the_template_is_stopped(start, template):
    own = set(children(os.getpid()))
    fork = start(template, "a").process
    [process] = set(children(os.getpid())) - own
    os.kill(process, signal.SIGSTOP)
    fork.kill()
    wait_until(lambda: fork.poll() is not None)
    wait_until(lambda: not is_known(process))  # idle


def test_a_template_waits_again_after_each_last_fork_with_one_thread(start, template):
    own, threads, templates = set(children(os.getpid())), threading.active_count(), set()
    for _ in range(6):  # longer than it waits
        start(template, "leave").process.wait(5)
        templates |= set(children(os.getpid())) - own
        assert threading.active_count() <= threads + 2  # one may have been told to end
        time.sleep(0.05)
    assert len(templates) == 1


def test_all_of_them_end_with_the_service():
    with subprocess.Popen([sys.executable, "-c", SERVICE, *COMMAND], cwd=ROOT, stdout=subprocess.PIPE) as service:
        pids = [int(word) for word in service.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(is_running, pids))
        service.kill()
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
