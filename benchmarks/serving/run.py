"""The measurement: every server in every repeat, in another order each time, with load on one at a time."""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import environments
from benchmarks.serving.check import FIRST, wrong_answer
from benchmarks.serving.errors import Unavailable
from benchmarks.serving.in_process import in_process
from benchmarks.serving.load import Load, closed_loop, open_loop
from benchmarks.serving.many_models import build
from benchmarks.serving.process import Cores, Running, free_port, running
from benchmarks.serving.samples import IMAGE_MODEL, Samples
from benchmarks.serving.servers import REPOSITORY, SERVERS, Place, Server
from benchmarks.serving.workloads import (
    ATELIER,
    IN_PROCESS,
    MANY,
    OPEN_LOOP_SHARE,
    WORKLOADS,
    Workload,
    expected,
)

WARM_UP_S = 1.0
CHECKED = 64
"""Answers that are compared with ONNX Runtime before each measurement; before the first of Atelier all are."""
OPEN_LOOP_LIMIT_PER_S = 12_000
"""Above this rate the open loop, which is Python, would itself be late; the results contain its delay. Servers that can
do more get this rate."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """The plan of a measurement.

    Attributes:
        servers, workloads: by name.
        seconds: of each measurement, after a warm-up.
        load_average: of the machine over the minute before; other programs affect every figure.
        triton: see ``Place``.
    """

    servers: tuple[str, ...]
    workloads: tuple[str, ...]
    seconds: float
    repeats: int
    models: Path
    work: Path
    cores: Cores
    load_average: float
    triton: Path | None = None


@dataclass
class Found:
    """All results.

    Attributes:
        loads: (workload, server) -> one Load per repeat, keyed by the repeat's number.
        starts: server -> all of its starts.
        missing: (workload, server) -> why it was not measured, or not every time. A server that cannot be started or
            installed is listed under each of its workloads.
    """

    loads: dict[tuple[str, str], dict[int, Load]] = field(default_factory=dict)
    starts: dict[str, list[Running]] = field(default_factory=dict)
    missing: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Session:
    """Servers that are started together, and their workloads, in turn."""

    servers: tuple[Server, ...]
    kind: str
    workloads: tuple[Workload, ...]


def measure(plan: Plan, say: Say) -> Found:
    """Install what is missing, then measure; a failure is recorded, and the rest continues."""
    found = Found()
    samples = Samples(plan.models, plan.work)
    programs = _install(plan, found, say)
    sessions = _sessions(plan, tuple(programs))
    many = plan.work / "many-models"
    if MANY in programs:
        build(plan.models / IMAGE_MODEL / "1", many)
    for repeat in range(plan.repeats):
        for session in random.Random(repeat).sample(sessions, len(sessions)):
            titles = ", ".join(server.title for server in session.servers)
            say(f"repeat {repeat + 1} of {plan.repeats}: {titles}; {session.kind}")
            places = {
                server.name: Place(
                    session.kind, free_port(), programs[server.name], plan.work, samples, many, plan.triton
                )
                for server in session.servers
            }
            _measure_session(session, places, plan, found, repeat, say)
        _measure_in_process(plan, samples, found, repeat)
    return found


def _install(plan: Plan, found: Found, say: Say) -> dict[str, Path]:
    """Server -> bin directory of its environment; servers whose environment cannot be created are left out."""
    root, made, failed = plan.work / "environments", {}, dict[str, str]()
    for name in plan.servers:
        environment = SERVERS[name].environment
        if environment is None:
            made[name] = Path(sys.executable).parent
            continue
        try:
            if environment in failed:
                raise Unavailable(failed[environment])
            say(f"environment of {SERVERS[name].title}")
            made[name] = environments.prepare(environment, root)
            found.versions[name] = environments.versions(environment, root)
        except Unavailable as error:
            failed[environment] = str(error)
            say(f"  {error}")
            for workload in _supported(plan, name):
                found.missing[workload.name, name] = str(error)
    return made


def _supported(plan: Plan, server: str) -> list[Workload]:
    """Workloads of the plan that the server supports, a closed loop before the open loop that uses its rate."""
    chosen = [WORKLOADS[name] for name in plan.workloads if server in WORKLOADS[name].forms]
    return sorted(chosen, key=lambda workload: workload.open_loop_of is not None)


def _sessions(plan: Plan, names: tuple[str, ...]) -> list[_Session]:
    """The floor and Atelier together, so that both are measured within seconds; other servers alone."""
    together = tuple(name for name in names if SERVERS[name].beside_floor)
    sessions = []
    for group in ((together,) if together else ()) + tuple((name,) for name in names if name not in together):
        servers = tuple(SERVERS[name] for name in group)
        supported = {workload.name: workload for name in group for workload in _supported(plan, name)}
        for kinds in (("image", "text"),) if servers[0].one_start else (("image",), ("text",)):
            if workloads := tuple(workload for workload in supported.values() if workload.kind in kinds):
                sessions.append(_Session(servers, workloads[0].kind, workloads))
    return sessions


def _measure_session(
    session: _Session, places: dict[str, Place], plan: Plan, found: Found, repeat: int, say: Say
) -> None:
    with ExitStack() as stack:
        started = []
        for server in session.servers:
            workloads = [workload for workload in session.workloads if server.name in workload.forms]
            if not workloads:
                continue
            try:
                stack.enter_context(_started(server, workloads[0], places[server.name], plan, found))
                started.append(server)
            except Unavailable as error:
                say(f"  {server.title} not measured: {error}")
                found.missing |= {(workload.name, server.name): str(error) for workload in workloads}
        for workload in session.workloads:
            for server in started[:: -1 if repeat % 2 else 1]:
                if server.name not in workload.forms:
                    continue
                key = workload.name, server.name
                try:
                    load = _measure(workload, server, places[server.name], plan, found, repeat)
                    found.loads.setdefault(key, {})[repeat] = load
                except Unavailable as error:
                    say(f"  {server.title}, {workload.name} not measured: {error}")
                    found.missing[key] = str(error)


@contextmanager
def _started(server: Server, first: Workload, place: Place, plan: Plan, found: Found) -> Iterator[None]:
    start = server.start(place)
    asked = expected(first, place.samples)
    with running(
        start.command,
        start.environment,
        port=place.port,
        core=plan.cores.server,
        log=plan.work / "logs" / f"{server.name}-{place.kind}.log",
        directory=REPOSITORY,
        answers=lambda: wrong_answer(
            first.forms[server.name], *asked, port=place.port, ready_path=server.ready_path, most=FIRST
        ),
    ) as process:
        found.starts.setdefault(server.name, []).append(process)
        yield


def _measure(workload: Workload, server: Server, place: Place, plan: Plan, found: Found, repeat: int) -> Load:
    form = workload.forms[server.name]
    instances, answers = expected(workload, place.samples)
    most = len(instances) if server.name == ATELIER and not repeat else CHECKED
    if wrong := wrong_answer(form, instances, answers, port=place.port, most=most):
        raise Unavailable(f"wrong answer: {wrong}")
    posts = [form.write(given) for given in instances]
    core, port = plan.cores.load, place.port
    if workload.open_loop_of is None:
        closed_loop(posts, port=port, connections=workload.connections, seconds=WARM_UP_S, core=core)
        return closed_loop(posts, port=port, connections=workload.connections, seconds=plan.seconds, core=core)
    most = found.loads.get((workload.open_loop_of, server.name), {}).get(repeat)
    if most is None:
        raise Unavailable(f"its maximum rate is not known; measure {workload.open_loop_of} too")
    rate = OPEN_LOOP_SHARE * most.rate_per_s
    return open_loop(posts, port=port, rate_per_s=min(rate, OPEN_LOOP_LIMIT_PER_S), seconds=plan.seconds, core=core)


def _measure_in_process(plan: Plan, samples: Samples, found: Found, repeat: int) -> None:
    for name in plan.workloads:
        workload = WORKLOADS[name]
        if any(target.against == IN_PROCESS for target in workload.targets):
            found.loads.setdefault((name, IN_PROCESS), {})[repeat] = in_process(
                samples.image_model, rows=workload.rows, seconds=plan.seconds, core=plan.cores.server
            )


def all_workloads(names: Sequence[str]) -> tuple[str, ...]:
    """``names``, and the closed loops that their open loops require, in the order of the catalogue."""
    needed = {WORKLOADS[name].open_loop_of for name in names}
    return tuple(name for name in WORKLOADS if name in names or name in needed)
