"""All scenarios, in the order of their execution."""

from benchmarks.chaos.scenarios.at_once import AT_ONCE
from benchmarks.chaos.scenarios.clients import SLOW_HEADS, VANISH
from benchmarks.chaos.scenarios.clock import JUMP
from benchmarks.chaos.scenarios.descriptors import NO_DESCRIPTORS
from benchmarks.chaos.scenarios.grpc_messages import GRPC_MESSAGES
from benchmarks.chaos.scenarios.large_json import LARGE_JSON
from benchmarks.chaos.scenarios.scrapes import SCRAPES
from benchmarks.chaos.scenarios.workers import KILL_WORKERS, STOP_WORKER

SCENARIOS = (
    KILL_WORKERS,
    STOP_WORKER,
    SLOW_HEADS,
    VANISH,
    LARGE_JSON,
    GRPC_MESSAGES,
    SCRAPES,
    AT_ONCE,
    NO_DESCRIPTORS,
    JUMP,
)
