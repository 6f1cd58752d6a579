"""Promotion and rollback start from the version that answers, not from what the files alone would suggest."""

import asyncio
import json

import pytest

from app.errors import VersionNotFound
from app.lifecycle.draining import drain
from app.repository.repository import Repository
from app.runtime.devices import Device
from app.runtime.placement import Placer
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.wiring.assembly import build_lifecycle
from tests.support.tiny_models import flip_one_weight, write_brightness_model


@pytest.fixture
def models(tmp_path):
    """Version 3 is refused by the golden gate, so version 2 answers."""
    for version in (1, 2, 3):
        directory = write_brightness_model(tmp_path, version=version)
    flip_one_weight(directory, "weights")
    return tmp_path


def serving(models, scenario):
    async def main():
        placer = Placer(lambda: [Device("cpu", "", True, "")])
        lifecycle = build_lifecycle(Settings(models_dir=models), Metrics(), placer)
        await lifecycle.load_all()
        try:
            return await scenario(lifecycle)
        finally:
            await drain(lifecycle.registry, 5)

    return asyncio.run(main())


def settings(models):
    return json.loads((models / "brightness" / "serving.json").read_text())


def test_a_rollback_goes_back_to_the_version_that_answered_before_the_promotion(models):
    async def scenario(lifecycle):
        assert lifecycle.registry.get("brightness").version == 2
        promoted = await lifecycle.promote("brightness", 1)
        assert (promoted.version, promoted.before) == (1, 2)
        assert settings(models)["promoted"] == [2]
        back = await lifecycle.rollback("brightness")
        assert (back.version, back.before) == (2, 1)
        assert lifecycle.registry.get("brightness").version == 2

    serving(models, scenario)


def test_a_rollback_without_a_promotion_goes_to_the_version_below_the_one_that_answers(models):
    async def scenario(lifecycle):
        back = await lifecycle.rollback("brightness")
        assert (back.version, back.before) == (1, 2)
        with pytest.raises(VersionNotFound, match="no version was the default before version 1, and none is older"):
            await lifecycle.rollback("brightness")

    serving(models, scenario)


def test_a_rollback_withdraws_a_promotion_that_is_not_in_effect(models):
    (models / "brightness" / "serving.json").write_text('{"version_labels": {"stable": 3}, "promoted": [1, 2]}')

    async def scenario(lifecycle):
        assert lifecycle.registry.get("brightness").version == 2
        back = await lifecycle.rollback("brightness")
        assert (back.version, back.before) == (2, 2)
        assert settings(models) == {"version_labels": {"stable": 2}, "promoted": [1]}
        back = await lifecycle.rollback("brightness")
        assert (back.version, back.before) == (1, 2)

    serving(models, scenario)


def test_a_promotion_of_an_unloaded_model_takes_the_version_before_from_the_files(models):
    async def scenario(lifecycle):
        await lifecycle.promote("brightness", 2)
        await lifecycle.unload("brightness", timeout_s=1)
        promoted = await lifecycle.promote("brightness", 1)
        assert (promoted.version, promoted.before) == (1, 2)

    serving(models, scenario)


def test_a_promotion_in_the_file_counts_before_the_service_has_followed_it(models):
    async def scenario(lifecycle):
        Repository(models).promote("brightness", 1, default=None, versions=[3, 2, 1])
        assert lifecycle.registry.get("brightness").version == 2
        promoted = await lifecycle.promote("brightness", 2)
        assert (promoted.version, promoted.before) == (2, 1)

    serving(models, scenario)
