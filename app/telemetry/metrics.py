"""All metrics of the process: counted, added to those of other processes, and collected for a scrape."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app import __version__
from app.batching.work import Timings
from app.lifecycle.versions import State
from app.loaded import LoadedModel
from app.rollout.comparison import Comparison
from app.telemetry.compat import Compat, compat_families
from app.telemetry.counts import VERSION_LABELS, VersionMetrics
from app.telemetry.drift import Drift, drift_families
from app.telemetry.families import Facts, canary_families, fact_families, facts_of
from app.telemetry.sums import Duration, plain, summed
from app.telemetry.version_families import (
    Histograms,
    counter_families,
    histogram_families,
    queue_families,
    recording_families,
)

if TYPE_CHECKING:
    from app.rollout.canary import Rollout


GONE_KEPT = 32
"""Number of versions, neither on disk nor loaded, that keep their counts, so that a scrape gets the last values."""
ENDED_KEPT = 256
"""Number of versions of ended worker processes that keep their counts."""


class Metrics(Collector):
    """All metrics of the process; register it with a CollectorRegistry.

    Args:
        wall_clock: seconds since 1970, for the time of the last inference.
        histograms: see ``histogram_families``.
        compat: see ``compat_families``.
    """

    def __init__(
        self,
        *,
        wall_clock: Callable[[], float] = time.time,
        histograms: Histograms = "requests",
        compat: Sequence[Compat] = (),
    ) -> None:
        self._wall_clock = wall_clock
        self._histograms = histograms
        self._compat = compat
        self._versions: dict[tuple[str, int], VersionMetrics] = {}
        # One state, or several if merged processes differ.
        self._states: dict[tuple[str, str], set[State]] = {}
        self._unknown: Counter[tuple[str, int]] = Counter()
        # Requests to versions whose counts were dropped.
        self._forgotten_requests = 0
        self._loads: defaultdict[tuple[str, str], Duration] = defaultdict(Duration)
        self._broken: dict[str, bool] = {}
        # The current canaries, the ready versions, and whether the service is ready; set by the code that wires it.
        self.rollouts: Callable[[], Sequence[Rollout]] = tuple
        self.loaded: Callable[[], Sequence[LoadedModel]] = tuple
        self.is_ready: Callable[[], bool] = bool
        # When models were last copied from their URL, in seconds since 1970; 0.0: never, None: they have none.
        self.copied_at: Callable[[], float | None] = lambda: None
        self._merged_copied_at: float | None = None
        self._merged_ready = False
        # Comparisons of other processes: (model, stable, canary) -> comparison, and whether the canary is halted.
        self._merged: dict[tuple[str, int, int], tuple[Comparison, bool]] = {}
        self._merged_facts: dict[tuple[str, int], Facts] = {}
        self._merged_drift: dict[tuple[str, int], Drift] = {}

    def statistics(self, name: str, version: int) -> dict[str, Any]:
        """Counts of one version; implements ``control.describe.Statistics``."""
        return self.for_version(name, version).statistics()

    def comparison(self, rollout: "Rollout") -> Comparison:
        """The comparison of a canary; implements ``control.describe.Statistics``."""
        found = self._compared().get(_key(rollout))
        return rollout.comparison if found is None else found[0]

    def for_version(self, name: str, version: int) -> VersionMetrics:
        """The counts of a model version; the same object every time."""
        key = (name, version)
        found = self._versions.get(key)
        if found is None:  # on the hot path: create it only if needed
            found = self._versions[key] = VersionMetrics()
        return found

    def load_done(self, name: str, succeeded: bool, seconds: float) -> None:
        """Count an attempt to load a version."""
        self._loads[name, "ready" if succeeded else "refused"].add(seconds)

    def policy_read(self, name: str, broken: bool) -> None:
        """Record whether serving.json of a model is broken."""
        self._broken[name] = broken

    def set_state(self, name: str, version: int, state: State | None) -> None:
        """Record the state of a version; None if it is gone. Of the versions that are gone, the newest keep counts."""
        if state is None:
            self._states.pop((name, str(version)), None)
            gone = [key for key in self._versions if (key[0], str(key[1])) not in self._states]
            self._forget(gone[:-GONE_KEPT])
            if (counts := self._versions.get((name, version))) is not None:
                counts.fold()  # the collected requests take more memory than the histograms
        else:
            self._states[(name, str(version))] = {state}

    def _forget(self, keys: Iterable[tuple[str, int]]) -> None:
        """Drop the counts of versions, except the sum of their requests, which must not decrease."""
        for key in keys:
            self._forgotten_requests += sum(self._versions.pop(key).requests.values())

    def request_done(
        self,
        *,
        model: LoadedModel | None,
        protocol: str,
        code: int,
        seconds: float | None,
        timings: Timings,
        trace_id: str | None = None,
    ) -> None:
        """Count an inference request; implements ``edge.observer.RequestObserver``."""
        if model is None:  # the name came from the client: never a label
            self._unknown[protocol, code] += 1
            return
        counts = self.for_version(model.name, model.version)
        counts.requests[protocol, code] += 1
        if seconds is None:
            return
        if trace_id is not None:
            counts.note_trace(trace_id, seconds, self._wall_clock())
        if code == 200:
            counts.last_inference_s = self._wall_clock()
            counts.answered(seconds, timings)
        else:
            counts.request_seconds.observe(seconds)
            counts.fail.add(seconds)

    def requests_answered(
        self, *, model: LoadedModel, protocol: str, seconds: Sequence[float], timings: Timings
    ) -> None:
        """Count answered requests; implements ``edge.observer.RequestObserver``."""
        counts = self.for_version(model.name, model.version)
        counts.requests[protocol, 200] += len(seconds)
        counts.last_inference_s = self._wall_clock()
        counts.all_answered(seconds, timings)

    def rows_recorded(self, name: str, version: int, count: int) -> None:
        """Count recorded instances; implements ``recording.recording.RecordingObserver``."""
        self.for_version(name, version).recorded += count

    def recording_dropped(self, name: str, version: int, reason: str, count: int) -> None:
        """Count instances that were to be recorded and are not; implements ``RecordingObserver``."""
        self.for_version(name, version).recording_dropped[reason] += count

    def feedback_taken(self, name: str, version: int) -> None:
        """Count a right answer that a client sent."""
        self.for_version(name, version).feedback += 1

    def snapshot(self) -> dict[str, Any]:
        """All metrics, for JSON; ``merge`` reads it."""
        return {
            "versions": [[*key, counts.snapshot()] for key, counts in self._versions.items()],
            "states": [[*key, sorted(states)] for key, states in self._states.items()],
            "histograms": self._histograms,
            "compat": list(self._compat),
            "ready": self.is_ready() or self._merged_ready,
            "copied_at": self._copied_at(),
            "forgotten_requests": self._forgotten_requests,
            "unknown": plain(self._unknown),
            "loads": plain(self._loads),
            "broken": self._broken,
            "facts": [[*key, asdict(facts)] for key, facts in self._facts().items()],
            "drift": [[*key, drift.snapshot()] for key, drift in self._drift().items()],
            "rollouts": [[*key, asdict(seen), halted] for key, (seen, halted) in self._compared().items()],
        }

    def merge(self, snapshot: Mapping[str, Any], *, ended: bool = False) -> None:
        """Add the metrics of another process; if it has ``ended``, only those that never decrease."""
        self._histograms, self._compat = snapshot["histograms"], snapshot["compat"]
        self._merged_ready |= snapshot["ready"] and not ended
        self._merged_copied_at = _later(self._merged_copied_at, snapshot["copied_at"])
        self._forgotten_requests += snapshot["forgotten_requests"]
        for name, version, counts in snapshot["versions"]:
            self.for_version(name, version).merge(counts, ended=ended)
            if ended:  # move to the end: the first entries are dropped first
                self._versions[name, version] = self._versions.pop((name, version))
        if ended:
            self._forget(list(self._versions)[:-ENDED_KEPT])
        for name, version, states in () if ended else snapshot["states"]:
            self._states.setdefault((name, version), set()).update(map(State, states))
        summed(self._unknown, snapshot["unknown"])
        summed(self._loads, snapshot["loads"])
        for name, broken in snapshot["broken"].items():
            self._broken[name] = self._broken.get(name, False) or (broken and not ended)
        for name, version, values in () if ended else snapshot["facts"]:
            known = self._merged_facts.get((name, version))
            self._merged_facts[name, version] = Facts(**values).merged_with(known)
        for name, version, values in () if ended else snapshot["drift"]:
            self._merged_drift.setdefault((name, version), Drift()).merge(values)
        for name, stable, canary, values, halted in snapshot["rollouts"]:
            seen, was_halted = self._merged.get((name, stable, canary), (Comparison(), False))
            seen.merge(Comparison(**values))
            self._merged[name, stable, canary] = (seen, was_halted or (halted and not ended))

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape."""
        info = GaugeMetricFamily("atelier_build_info", "Version of the service; always 1.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        yield GaugeMetricFamily(
            "atelier_ready",
            "1 while the service, with workers at least one of them, is ready for requests.",
            value=float(self.is_ready() or self._merged_ready),
        )
        if (copied_at := self._copied_at()) is not None:
            yield GaugeMetricFamily(
                "atelier_mirror_last_success_timestamp_seconds",
                "When the URL of the models was last read without an error, in seconds since 1970; 0: never.",
                value=copied_at,
            )
        counted = list(self._each())
        yield from counter_families(counted, unknown=self._unknown, loads_done=self._loads)
        yield from recording_families(counted)
        yield from canary_families(self._compared())
        yield from histogram_families(counted, self._histograms)
        yield from queue_families(counted)
        yield from drift_families(self._drift())
        yield from compat_families(counted, compat=self._compat, loads_done=self._loads)
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        policies = GaugeMetricFamily(
            "atelier_serving_json_broken",
            "1 while serving.json of a model is broken; the last valid serving.json stays in effect.",
            labels=["model"],
        )
        for name, broken in sorted(self._broken.items()):
            policies.add_metric([name], float(broken))
        yield policies
        states = GaugeMetricFamily(
            "atelier_model_state", "1 for the current state of a version.", labels=[*VERSION_LABELS, "state"]
        )
        for version, current in sorted(self._states.items()):
            for state in State:
                states.add_metric([*version, state], float(state in current))
        yield states
        yield from fact_families(self._facts())

    def _copied_at(self) -> float | None:
        return _later(self._merged_copied_at, self.copied_at())

    def _facts(self) -> dict[tuple[str, int], Facts]:
        return self._merged_facts | {(model.name, model.version): facts_of(model) for model in self.loaded()}

    def _drift(self) -> dict[tuple[str, int], Drift]:
        own = {(model.name, model.version): Drift.of(model.drift) for model in self.loaded() if model.drift is not None}
        return self._merged_drift | own

    def _compared(self) -> dict[tuple[str, int, int], tuple[Comparison, bool]]:
        own = {_key(each): (each.comparison, each.reason is not None) for each in self.rollouts()}
        return self._merged | own

    def _each(self) -> Iterator[tuple[list[str], VersionMetrics]]:
        for (name, version), counts in sorted(self._versions.items()):
            counts.fold()
            yield [name, str(version)], counts


def _later(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)


def _key(rollout: "Rollout") -> tuple[str, int, int]:
    return rollout.stable.name, rollout.stable.version, rollout.canary.version
