"""The result of a load generator, and the two generators: wrk, closed loop, and ``open_loop``."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.serving.errors import Unavailable
from benchmarks.serving.forms import Post

OPEN_LOOP_CONNECTIONS = 64
# Share of the measured seconds that an open loop sends first and does not count.
WARM_UP_SHARE = 0.2

_SCRIPT = """
local requests, turn = {{}}, 0
function init(args)
  local file, lines = io.open({bodies}, "rb"), io.lines({index})
  for line in lines do
    local size, path = line:match("(%d+) (.*)")
    requests[#requests + 1] = wrk.format("POST", path, {{{headers}}}, file:read(tonumber(size)))
  end
  file:close()
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local form = '"rate_per_s": %.6f, "p50_ms": %.6f, "p99_ms": %.6f, "errors": %d, "requests": %d'
  local rate = (summary.requests - errors.status) / summary.duration * 1e6
  local p50, p99 = latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  io.write("\\nRESULT {{" .. string.format(form, rate, p50, p99, failed, summary.requests) .. "}}\\n")
end
"""


@dataclass(frozen=True)
class Load:
    """One measurement.

    Attributes:
        rate_per_s: good answers per second.
        p50_ms, p99_ms: latency; in an open loop, from the moment at which the request was due.
        errors: answers other than 2xx, lost connections and answers.
        requests: answers.
        asked_per_s: rate of an open loop; None for wrk.
        late_p99_ms: delay of the open loop itself in sending while it had a free connection.
    """

    rate_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    requests: int
    asked_per_s: float | None = None
    late_p99_ms: float | None = None


def require_wrk() -> str:
    """The version of ``wrk``.

    Raises:
        Unavailable: it is not installed.
    """
    if shutil.which("wrk") is None:
        raise Unavailable("wrk is not installed: apt-get install wrk")
    said = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(said.split()[:2])


def closed_loop(posts: Sequence[Post], *, port: int, connections: int, seconds: float, core: int) -> Load:
    """Run ``wrk`` with one thread on ``core``: each connection sends its next request after its answer.

    wrk cycles through the requests; their headers are those of the first, which all of them must share.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "requests.lua")
        script.write_text(_lua(posts, Path(folder)), encoding="utf-8")
        wrk = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
        command = ["taskset", "--cpu-list", str(core), *wrk, "-s", str(script), f"http://127.0.0.1:{port}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    result = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if result is None:
        raise Unavailable(f"wrk gave no result: {(done.stderr or done.stdout).strip()[-300:]}")
    return Load(**json.loads(result.removeprefix("RESULT ").replace("nan", "0").replace("inf", "0")))


def open_loop(posts: Sequence[Post], *, port: int, rate_per_s: float, seconds: float, core: int) -> Load:
    """Requests at a constant rate, independent of the answers; latency counts from when a request is due."""
    skipped = int(rate_per_s * seconds * WARM_UP_SHARE)
    due_s = [number / rate_per_s for number in range(skipped + max(1, int(rate_per_s * seconds)))]
    return scheduled_loop(posts, ports=[port], due_s=due_s, skipped=skipped, core=core)


def scheduled_loop(
    posts: Sequence[Post],
    *,
    ports: Sequence[int],
    due_s: Sequence[float],
    skipped: int,
    core: int,
    sleeps: bool = False,
) -> Load:
    """Requests at given times, to the ports in turn, independent of the answers.

    Args:
        posts: sent in turn.
        ports: of the replicas.
        due_s: when each request is due, from the start on, ascending.
        skipped: number of the first requests that do not count.
        core: of the generator.
        sleeps: see ``OpenLoop``.

    Raises:
        Unavailable: the generator failed.
    """
    plan = {
        "ports": list(ports),
        "due_s": list(due_s),
        "skipped": skipped,
        "sleeps": sleeps,
        "connections": OPEN_LOOP_CONNECTIONS,
        "requests": [wire(post, ports[0]).hex() for post in posts],
    }
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "benchmarks.serving.open_loop"]
    done = subprocess.run(command, input=json.dumps(plan), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"the open loop failed: {done.stderr.strip()[-300:]}")
    return Load(**json.loads(done.stdout))


def wire(post: Post, port: int) -> bytes:
    """A request as bytes on the wire."""
    headers = {"Host": f"127.0.0.1:{port}", **post.headers, "Content-Length": str(len(post.body))}
    lines = [f"POST {post.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + post.body


def as_record(load: Load) -> dict[str, float | int | None]:
    """The load for the results file, rounded to a sensible number of digits."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(load).items()}


def _lua(posts: Sequence[Post], folder: Path) -> str:
    bodies, index = folder / "bodies", folder / "index"
    bodies.write_bytes(b"".join(post.body for post in posts))
    index.write_text("".join(f"{len(post.body)} {post.path}\n" for post in posts), encoding="ascii")
    headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in posts[0].headers.items())
    return _SCRIPT.format(bodies=json.dumps(str(bodies)), index=json.dumps(str(index)), headers=headers)
