"""The soak itself: a service, its load, its changes, and samples of its resources."""

import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.contract.model_spec import ModelSpec
from benchmarks.soak.changes import BROKEN_VERSION_ERROR, Changes
from benchmarks.soak.leak import Growth, measure_growth
from benchmarks.soak.requests import asks_for
from benchmarks.soak.service import SERVE, Size, serving
from benchmarks.soak.traffic import Tally, Traffic

WINDOWS = 40
"""The minimum of each window counts: the service returns unused memory only at intervals."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan and the limits of a soak.

    Attributes:
        seconds: in total.
        warm_up_s: not counted: pools and caches fill up.
        sample_s, change_s: between two samples, and two changes of the models directory.
        good_per_s, bad_per_s, gone_per_s, grpc_per_s: rates of requests, and of clients that leave; None: as many as
            are answered.
        memory_mb_per_h, count_per_h: largest slopes of memory, and of descriptors and threads.
        answers: end earlier, after this many answered good requests; 0: no such limit.
        flags: further flags of the service.
    """

    seconds: float
    warm_up_s: float
    sample_s: float = 3.0
    change_s: float = 3.0
    good_per_s: float | None = 60.0
    bad_per_s: float = 3.0
    gone_per_s: float = 2.0
    grpc_per_s: float | None = 5.0
    memory_mb_per_h: float = 5.0
    count_per_h: float = 6.0
    answers: int = 0
    flags: tuple[str, ...] = ()

    def is_answered(self, tally: Tally) -> bool:
        """Whether the number of answers in the plan is reached."""
        return 0 < self.answers <= tally.codes[200]


@dataclass
class Soak:
    """The result of a soak.

    Attributes:
        at_s, sizes: samples, and their times in seconds from the start of the load.
        growth: figure -> its slope per hour.
        changes: kind -> count.
        failed: failed changes.
        errors: errors in the service's log other than the refusal of a broken version.
    """

    plan: Plan
    at_s: list[float] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    changes: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    growth: dict[str, Growth] = field(default_factory=dict)

    @property
    def faults(self) -> list[str]:
        """Broken limits, in words; empty without any."""
        found = [f"{name} grows by {one.slope:.1f} per hour" for name, one in self.growth.items() if one.leaks]
        tally = self.tally
        counts = {
            "good requests without 200": tally.lost,
            "wrong answers": sum(tally.wrong.values()),
            "bad requests without 4xx": sum(tally.accepted.values()),
        }
        found += [f"{count} {what}" for what, count in counts.items() if count]
        listed = {"changes that failed": self.failed, "errors in the log": self.errors}
        return found + [f"{len(lines)} {what}, first: {lines[0].strip()}" for what, lines in listed.items() if lines]


def soak(versions: Sequence[Path], plan: Plan, *, command: Sequence[str] = SERVE) -> Soak:
    """Serve copies of published versions under load, as planned.

    Args:
        versions: one of each model.
        plan: actions and limits.
        command: starts the service; its flags are appended.
    """
    found = Soak(plan)
    with tempfile.TemporaryDirectory(prefix="atelier-soak-") as folder:
        models, sources = Path(folder) / "models", [Path(folder) / each.parent.name / each.name for each in versions]
        for version, source in zip(versions, sources, strict=True):
            shutil.copytree(version, source)
            shutil.copytree(version, models / source.parent.name / source.name)
        asks, ended = asks_for(sources), threading.Event()
        flags = ("--grpc-port", "0", *plan.flags)
        with serving(models, *flags, command=command, expected_errors=BROKEN_VERSION_ERROR) as service:
            traffic = Traffic(
                service.address,
                good=asks.good,
                good_per_s=plan.good_per_s,
                bad=asks.bad,
                bad_per_s=plan.bad_per_s,
                gone_per_s=plan.gone_per_s,
                grpc=asks.grpc,
                grpc_port=service.grpc_port,
                grpc_per_s=plan.grpc_per_s,
            )
            changes = Changes(service, models, sources)
            changing = threading.Thread(target=changes.run, args=(ended,), kwargs={"every_s": plan.change_s})
            changing.start()
            began = time.monotonic()
            try:
                with traffic:
                    while (at := time.monotonic() - began) < plan.seconds and not plan.is_answered(traffic.tally):
                        found.at_s.append(at)
                        found.sizes.append(service.size())
                        time.sleep(plan.sample_s)
            finally:
                ended.set()
                changing.join()
        found.tally, found.changes = traffic.tally, dict(changes.done)
        found.failed, found.errors = changes.failed, service.errors
    if not plan.answers:
        found.growth = growth_of(found.at_s, found.sizes, plan)
    return found


def growth_of(at_s: Sequence[float], sizes: Sequence[Size], plan: Plan) -> dict[str, Growth]:
    """The slopes per hour of all sampled figures."""
    hours, values = [each / 3600 for each in at_s], [vars(each) for each in sizes]
    found = {}
    for name in ("resident_mb", "proportional_mb", "descriptors", "threads"):
        limit = plan.memory_mb_per_h if name.endswith("_mb") else plan.count_per_h
        figures = [each[name] for each in values]
        window_h = (plan.seconds - plan.warm_up_s) / WINDOWS / 3600
        places, least = least_of_windows(hours, figures, window_h) if name.endswith("_mb") else (hours, figures)
        found[name] = measure_growth(places, least, after=plan.warm_up_s / 3600, limit=limit)
    return found


def least_of_windows(at: Sequence[float], values: Sequence[float], window: float) -> tuple[list[float], list[float]]:
    """The minimum of each window of that length, and its time."""
    least: dict[int, tuple[float, float]] = {}
    for place, value in zip(at, values, strict=True):
        key = int(place / window)
        if key not in least or value < least[key][1]:
            least[key] = (place, value)
    return [place for place, _ in least.values()], [value for _, value in least.values()]


def newest_versions(models: Path) -> list[Path]:
    """The newest published version of each model with one input."""
    newest = []
    for model in sorted(each for each in models.iterdir() if each.is_dir()):
        numbers = [int(each.name) for each in model.iterdir() if (each / "manifest.json").exists()]
        if numbers and len(ModelSpec.read(model / str(max(numbers))).inputs) == 1:
            newest.append(model / str(max(numbers)))
    return newest
