"""Runs each scenario against a real service under steady load, and checks every answer."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.chaos.scenario_list import SCENARIOS
from benchmarks.chaos.target import Target
from benchmarks.soak.requests import asks_for
from benchmarks.soak.service import SERVE, serving
from benchmarks.soak.traffic import NO_ANSWER, Traffic

GOOD_PER_S = 40.0


@dataclass
class Outcome:
    """The result of one scenario.

    Attributes:
        expected: in words.
        measured: in words.
        faults: deviations from the expected; empty if there are none.
    """

    name: str
    expected: str
    measured: str = ""
    faults: list[str] = field(default_factory=list)


def run_chaos(versions: Sequence[Path], names: Sequence[str], *, told: Callable[[str], None]) -> Iterator[Outcome]:
    """Run scenarios one after the other, each against its own service.

    Args:
        versions: one of each model; the service gets copies of them.
        names: of ``SCENARIOS``; all if empty.
        told: callback with each scenario before it starts.
    """
    with tempfile.TemporaryDirectory(prefix="atelier-chaos-") as folder:
        models = Path(folder) / "models"
        for version in versions:
            shutil.copytree(version, models / version.parent.name / version.name)
        asks = asks_for(list(versions))
        for scenario in SCENARIOS:
            if names and scenario.name not in names:
                continue
            told(scenario.name)
            outcome = Outcome(scenario.name, scenario.expected)
            if lacking := scenario.lacking():
                outcome.faults.append(lacking)
                yield outcome
                continue
            with serving(models, *scenario.flags, command=(*scenario.prefix(), *SERVE)) as service:
                target = Target(service)
                traffic = Traffic(target.address, good=asks.good, good_per_s=GOOD_PER_S, clients=4)
                with traffic:
                    time.sleep(1)
                    found = scenario.act(target)
                    time.sleep(1)
                outcome.measured = found.measured
                outcome.faults += found.faults
                codes, wrong = traffic.tally.codes, sum(traffic.tally.wrong.values())
                other = {code: count for code, count in codes.items() if code not in {200, *scenario.may_answer}}
                if wrong:
                    outcome.faults.append(f"{wrong} wrong answers")
                if codes[NO_ANSWER] > scenario.may_lose:
                    outcome.faults.append(f"{codes[NO_ANSWER]} requests of others without an answer")
                other.pop(NO_ANSWER, None)
                if other:
                    outcome.faults.append(f"others were answered {other}")
                lost = f", {codes[NO_ANSWER]} lost" if codes[NO_ANSWER] else ""
                outcome.measured += f"; others: {codes[200]} right{lost}"
                if target.process.poll() is not None:
                    outcome.faults.append(f"the service ended with {target.process.returncode}")
            yield outcome
