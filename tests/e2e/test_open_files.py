"""A service raises its own limit of open files, and says when that is not enough."""

from pathlib import Path

import pytest

from tests.support.service import Service


def limit(pid):
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[3] for line in lines if line.startswith("Max open files"))


def test_the_limit_is_raised_as_far_as_it_may_be(tiny_models):
    service = Service(tiny_models, through=("prlimit", "--nofile=1024:8192"))
    assert limit(service.process.pid) == "8192"
    assert "ATELIER_MAX_CONNECTIONS" not in service.log
    assert service.stop() == 0


@pytest.mark.parametrize("arguments", [(), ("--workers", "2")])
def test_a_limit_below_the_connections_is_reported(tiny_models, arguments):
    service = Service(tiny_models, *arguments, through=("prlimit", "--nofile=600:1500"))
    service.wait_for_log("may open 1500 files; ATELIER_MAX_CONNECTIONS=", also="LimitNOFILE")
    assert service.stop() == 0
