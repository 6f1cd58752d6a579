"""Fixtures of the tests that drive real processes."""

import pytest

from tests.support.service import Service


@pytest.fixture
def start():
    """Starts services and sees that they end with 0."""
    services = []

    def begin(*arguments, **options):
        services.append(Service(*arguments, **options))
        return services[-1]

    yield begin
    for service in services:
        if service.process.returncode is None:
            assert service.stop() == 0
