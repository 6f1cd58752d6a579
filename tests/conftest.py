"""Fixtures shared by all tests."""

import warnings
from pathlib import Path

import pytest

from tests.support.service import Service
from tests.support.tiny_models import write_brightness_model, write_fragile_model, write_words_model

# Files and directories with the longest tests, the longest first. The Makefile keeps pytest-xdist from another order.
LONGEST = (
    "tests/training/fit/test_parallel_stages.py",
    "tests/test_readme.py",
    "tests/training/new",
    "tests/training/recipes",
    "tests/training",
    "tests/e2e/test_own_data.py",
    "tests/benchmarks",
    "tests/e2e",
    "tests/deploy",
)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """A models directory with three models of a few weights. Do not write into it."""
    models = tmp_path_factory.mktemp("tiny-models")
    write_brightness_model(models)
    write_words_model(models)
    write_fragile_model(models)
    return models


@pytest.fixture(scope="session")
def tiny(tiny_models):
    """A client of a service over the tiny models."""
    service = Service(tiny_models, "--log-level", "debug")
    yield service.client
    assert service.stop() == 0


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder with one file for each kind of model of other tools. Do not write into it."""
    from tests.support.saved_by_others import save_models
    from training.environment import quiet_tensorflow

    quiet_tensorflow()
    folder = tmp_path_factory.mktemp("saved")
    with warnings.catch_warnings(action="ignore"):  # of the libraries that save
        save_models(folder)
    return folder


def pytest_collection_modifyitems(items):
    """Files whose tests train or read a page take minutes. They begin first, so that none is left at the end."""
    items.sort(key=lambda item: next((rank for rank, name in enumerate(LONGEST) if item.nodeid.startswith(name)), 99))


def pytest_configure(config):
    config.pluginmanager.register(SkipGuard(), "skip-guard")


class SkipGuard:
    """A skipped test that tests/allowed-skips.txt does not name fails the run."""

    def __init__(self) -> None:
        lines = (Path(__file__).parent / "allowed-skips.txt").read_text(encoding="utf-8").splitlines()
        self.allowed = {line for line in lines if line and not line.startswith("#")}
        self.skipped: dict[str, str] = {}
        self.unexpected: list[str] = []

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            self.skipped[report.nodeid] = (
                report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected failure"
            )
            if report.nodeid not in self.allowed:
                self.unexpected.append(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter):
        for node, reason in self.skipped.items():
            terminalreporter.write_line(f"skipped {node}: {reason}")
        for node in self.unexpected:
            terminalreporter.write_line(f"SKIPPED UNEXPECTEDLY {node}: fix it, or list it in tests/allowed-skips.txt")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if self.unexpected and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
