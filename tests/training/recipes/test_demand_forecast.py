import httpx
import numpy as np
import pytest

from app.contract.golden import Golden
from tests.support.service import Service, start_fixture
from training.errors import SettingRefused
from training.overrides import apply_overrides
from training.recipes.demand_forecast import DEMAND, INPUT, RECIPE, Demand, linear_forecast, naive_forecasts
from training.runs.record import Plan
from training.runs.run import run

start = start_fixture(Service)
SMALL = ["data.days=100", "data.every=6", "network.units=8", "fitting.epochs=6", "fitting.batch_size=16"]


def test_the_published_forecast_beats_the_naive_ones_and_the_service_gives_it(tmp_path, console, start):
    plan = Plan(test=True, repository=tmp_path / "models")
    outcome = run(apply_overrides(RECIPE, SMALL), plan, directory=tmp_path / "run", console=console)
    assert outcome.findings.missed == ()
    found = {figure.name: figure.value for figure in outcome.findings.figures}
    assert found["noise of an hour, which nothing can foresee"] < found["error of the network"]
    assert found["error of the network"] < 0.9 * found["error of the same hour of the day before"]
    [picture] = outcome.findings.pictures.values()
    assert picture.read_bytes().startswith(b"\x89PNG")
    golden, service = Golden.read(outcome.version), start(tmp_path / "models")
    body = {"instances": golden.inputs[INPUT].tolist()}
    answer = httpx.post(f"{service.url}/v1/models/demand-forecast:predict", json=body).raise_for_status()
    np.testing.assert_allclose(answer.json()["predictions"], golden.outputs["values"], rtol=1e-4)  # float32 near 100


def test_a_study_of_a_network_that_has_not_learned_misses_its_figure(tmp_path, console):
    still = apply_overrides(RECIPE, [*SMALL, "fitting.epochs=1", "optimizer.learning_rate=0"])
    outcome = run(still, Plan(), directory=tmp_path, console=console)
    assert [figure.name for figure in outcome.findings.missed] == ["error of the network"]


def test_the_parts_follow_each_other_without_a_common_hour():
    data = Demand(days=60, every=1, noise=0)
    series, splits = data.series(), data.load()
    begins = [0, int(0.7 * len(series)), int(0.85 * len(series))]
    for begin, part in zip(begins, (splits.train, splits.validation, splits.read_test()), strict=True):
        windows = np.asarray(part.instances)[INPUT]
        np.testing.assert_array_equal(windows[0], series[begin : begin + 48])
        np.testing.assert_array_equal(part.labels[0], series[begin + 48 : begin + 72, DEMAND])
        np.testing.assert_array_equal(windows[1], series[begin + 1 : begin + 49])
    last = len(splits.train) - 1
    np.testing.assert_array_equal(splits.train.labels[last], series[begins[1] - 24 : begins[1], DEMAND])


def test_naive_and_linear_forecasts():
    hours = np.zeros((1, 48, 3), np.float32)
    hours[0, :, DEMAND] = np.arange(48)
    naive = naive_forecasts(hours)
    assert naive["the last hour repeated"].tolist() == [[47.0] * 24]
    assert naive["the same hour of the day before"].tolist() == [list(range(24, 48))]
    train = Demand(days=60, every=1, noise=0).load().train
    known = np.asarray(train.instances)[INPUT]
    assert np.abs(linear_forecast(train, known) - train.labels).mean() < np.abs(known[:, -24:, 0] - train.labels).mean()


def test_a_series_that_is_too_short_for_a_window_is_refused():
    with pytest.raises(SettingRefused, match=r"data\.days 10 leaves 36 hours for the test; a window needs 72"):
        apply_overrides(RECIPE, ["data.days=10"])
