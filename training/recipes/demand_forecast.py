"""The next 24 hours of a made-up demand for electricity, from the 48 hours before, by an LSTM.

Command: python -m training run demand-forecast --test
Result: RMSE 4.42 MW on the test part (4.48 on validation; day before 8.64, linear map 4.03), 5,400 parameters; 28 s
Date and hardware: 2026-11-30, two cores of an AMD EPYC

A batch of windows is a tensor of three axes: samples, steps and features. The steps are 48 hours; the features are the
demand, the temperature, and whether the hour a day later is in a weekend, which the calendar says. The forecast must be
better than two naive ones: the last hour repeated, and the same hour of the day before. The network adds a correction
to the second of them. Windows that validate or test are later than all hours that the network has learned from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.bounds import Bounded, Count, Seed, ZeroOrMore
from training.data.pipelines import ArrayPipeline
from training.datasets.splits import Examples, Splits
from training.measure import drawing
from training.measure.evaluate import predict
from training.measure.findings import Findings, below, recorded
from training.measure.tasks import Regress
from training.recipe.fitting import Fitting, Loss, Optimizer, Schedule
from training.recipe.recipe import VALUES_NAME, Recipe, Signature, Subject, Targets

DAY, WEEK = 24, 7 * 24
STEPS, HORIZON = 2 * DAY, DAY
FEATURES = ("demand", "temperature", "weekend a day later")
DEMAND = FEATURES.index("demand")
INPUT = "hours"
PARTS = (0.7, 0.85)
"""Where the training and the validation hours end, as a share of all hours."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Demand(Bounded):
    """An hourly demand in megawatts that is made up: days, weekends, heating on cold days, and noise.

    Attributes:
        days: of the series.
        every: hours between the beginnings of two windows.
        noise: standard deviation, in megawatts, of what cannot be foreseen in an hour.
        seed: of the weather and the noise.
    """

    days: Count = 500
    every: Count = 3
    noise: ZeroOrMore = 2.0
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        hours = round((1 - PARTS[1]) * self.days * DAY)
        if hours < STEPS + HORIZON:
            raise ValueError(f"data.days {self.days} leaves {hours} hours for the test; a window needs 72")

    def load(self) -> Splits:
        """Make the series and cut it into windows; see ``DataSource.load``."""
        series = self.series()
        ends = [0, *(int(share * len(series)) for share in PARTS), len(series)]
        train, validation, test = (self._windows(series[first:last]) for first, last in pairwise(ends))
        return Splits(
            name="made-up demand",
            form="computed",
            files={},
            labels=(),
            train=train,
            validation=validation,
            read_test=lambda: test,
        )

    def synthetic(self) -> Splits:
        """The same series: it is always made up."""
        return self.load()

    def series(self) -> Array:
        """All hours, float32 (hours, features): megawatts, degrees Celsius, 0 or 1. The first hour is of a Monday."""
        rng = np.random.default_rng(self.seed)
        hours = np.arange(self.days * DAY)
        phase = 2 * np.pi * hours / DAY
        weather = _persistent(rng.normal(0, 0.35, len(hours)), share=0.99)
        temperature = 9 - 8 * np.cos(2 * np.pi * hours / (365 * DAY)) - 3 * np.cos(phase) + weather
        weekend = (hours % WEEK) >= 5 * DAY
        awake = 1 - 0.5 * np.cos(phase - 0.6) - 0.2 * np.cos(2 * phase)
        heating = 2.5 * np.maximum(0, 14 - temperature) * awake
        demand = 60 + 40 * awake * np.where(weekend, 0.7, 1) + heating + rng.normal(0, self.noise, len(hours))
        ahead = (hours + DAY) % WEEK >= 5 * DAY
        return np.stack([demand, temperature, ahead], axis=1).astype(np.float32)

    def _windows(self, series: Array) -> Examples:
        begins = range(0, len(series) - STEPS - HORIZON + 1, self.every)
        instances = np.zeros(len(begins), [(INPUT, np.float32, (STEPS, len(FEATURES)))])
        instances[INPUT] = [series[begin : begin + STEPS] for begin in begins]
        labels = np.array([series[begin + STEPS :][:HORIZON, DEMAND] for begin in begins], np.float32)
        return Examples(instances=instances, labels=labels)


def _persistent(shocks: npt.NDArray[np.float64], *, share: float) -> npt.NDArray[np.float64]:
    """A sum of shocks of which each hour keeps this share: an autoregressive process of the first order."""
    values = np.zeros_like(shocks)
    for hour in range(1, len(shocks)):
        values[hour] = share * values[hour - 1] + shocks[hour]
    return values


@dataclass(frozen=True, kw_only=True)
class Network(Bounded):
    """Settings of the network; attributes: units: of the LSTM."""

    units: Count = 32


def build(network: Network, signature: Signature) -> Any:
    """Standardised hours, an LSTM, and 24 corrections that are added to the demand of the last 24 hours."""
    import tf_keras
    from tf_keras import layers

    assert signature.arrays is not None  # the pipeline is for arrays
    fitted = signature.arrays[INPUT]
    mean, deviation = fitted.mean.mean(axis=0), fitted.deviation.mean(axis=0)
    hours = layers.Input(signature.input.shape, dtype=signature.input.dtype, name=signature.input.name)
    standardised = layers.Rescaling((1 / deviation).tolist(), offset=(-mean / deviation).tolist())(hours)
    x = layers.LSTM(network.units)(standardised)
    corrections = layers.Rescaling(float(deviation[DEMAND]))(layers.Dense(HORIZON, name="corrections")(x))
    return tf_keras.Model(hours, layers.Add(name=VALUES_NAME)([hours[:, -HORIZON:, DEMAND], corrections]))


def naive_forecasts(hours: Array) -> Mapping[str, Array]:
    """Forecasts without learning, float32 (rows, 24).

    Args:
        hours: float32 (rows, 48, features).
    """
    demand = hours[:, :, DEMAND]
    return {
        "the last hour repeated": np.repeat(demand[:, -1:], HORIZON, axis=1),
        "the same hour of the day before": demand[:, -HORIZON:],
    }


def linear_forecast(train: Examples, hours: Array) -> Array:
    """The forecast of one linear map of all numbers of a window, by least squares; shapes as above."""
    known, new = (
        np.hstack([rows.reshape(len(rows), -1), np.ones((len(rows), 1), np.float32)])
        for rows in (np.asarray(train.instances)[INPUT], hours)
    )
    weights, *_ = np.linalg.lstsq(known, train.labels, rcond=None)
    return np.asarray(new @ weights, np.float32)


@dataclass(frozen=True, kw_only=True)
class CompareWithNaive(Bounded):
    """Compares the network with forecasts that are simpler; attributes: days: drawn."""

    days: Count = 7

    def __call__(self, subject: Subject) -> Findings:
        """Root mean squared error on later hours, in megawatts."""
        later = subject.splits.validation
        hours = np.asarray(later.instances)[INPUT]
        answers = predict(subject.model, subject.feed, later, batch_size=256)
        error = _error(answers, later.labels)
        naive = {name: _error(forecast, later.labels) for name, forecast in naive_forecasts(hours).items()}
        linear = _error(linear_forecast(subject.splits.train, hours), later.labels)
        data = subject.recipe.data
        assert isinstance(data, Demand)
        return Findings(
            figures=(
                below("error of the network", error, min(naive.values()), of="the best naive forecast"),
                *(recorded(f"error of {name}", value) for name, value in naive.items()),
                recorded("error of a linear map of the window", linear),
                recorded("noise of an hour, which nothing can foresee", data.noise),
            ),
            pictures={"Forecasts of consecutive days": self._draw(subject, answers, -(-DAY // data.every))},
        )

    def _draw(self, subject: Subject, answers: Array, rows_of_a_day: int) -> Path:
        truth = subject.splits.validation.labels
        rows = np.arange(0, len(truth), rows_of_a_day)[: self.days]
        hours = np.arange(len(rows) * HORIZON).tolist()
        curves = {"demand": (hours, truth[rows].ravel().tolist()), "forecast": (hours, answers[rows].ravel().tolist())}
        return drawing.lines(
            curves, subject.directory / "forecast.png", x="hours, a forecast every 24", y="megawatts", marker=""
        )


def _error(forecast: Array, truth: npt.NDArray[Any]) -> float:
    return float(np.sqrt(((forecast - truth) ** 2).mean()))


RECIPE = Recipe(
    name="demand-forecast",
    description="The next 24 hours of a made-up demand for electricity, from the 48 hours before.",
    license="apache-2.0",
    data=Demand(),
    pipeline=ArrayPipeline(),
    network=Network(),
    build=build,
    task=Regress(),
    study=CompareWithNaive(),
    optimizer=Optimizer(name="adam", learning_rate=5e-3, schedule=Schedule(name="one-cycle"), clip_norm=1.0),
    loss=Loss(name="mean-squared-error"),
    metrics=("root-mean-squared-error",),
    fitting=Fitting(epochs=30, batch_size=64, monitor="val_loss"),
    publish_examples=True,
    targets=Targets(parameters=6_000),
)
