"""A local cluster: a head without CPUs, which has the proxy and Serve's controller, and nodes of one CPU each."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import ray
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve.schema import ReplicaState

from benchmarks.serving.process import free_port
from deploy.ray.application import build
from deploy.ray.arguments import Arguments
from tests.support.processes import children, is_running
from tests.support.service import wait_until

STORE_BYTES = 100 * 2**20
FAST = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # replicas would yield to the clients that load them
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
}
APPLICATION = "default"


class Nodes:
    """The running cluster.

    Args:
        cluster: with its head.
        port: of the proxy.
    """

    def __init__(self, cluster: Cluster, port: int) -> None:
        self._cluster = cluster
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)
        self._nodes: list[Any] = []

    def add(self, count: int = 1) -> None:
        """Start nodes of one CPU."""
        self._nodes += [
            self._cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, wait=True) for _ in range(count)
        ]

    def kill(self) -> None:
        """End all processes of the last node at once, as if its machine had lost its power."""
        node = self._nodes.pop()
        raylet = node.all_processes["raylet"][0].process.pid
        pids = [raylet, *_below(raylet)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(is_running(pid) for pid in pids))
        self._cluster.remove_node(node, allow_graceful=False)

    def deploy(self, models: Path, **arguments: Any) -> None:
        """Deploy, or update, the application, and wait until it runs."""
        serve.run(build(Arguments(models_dir=str(models), **arguments)))

    def clear(self) -> None:
        """Remove the application, so that its CPUs are free."""
        serve.delete(APPLICATION)

    def replicas(self, deployment: str = "models") -> set[str]:
        """Ids of the replicas that run."""
        return {
            each["replica_id"]
            for each in details()["deployments"][deployment]["replicas"]
            if each["state"] == ReplicaState.RUNNING.value
        }


def details() -> dict[str, Any]:
    """What Serve knows of the application."""
    from ray.serve.context import _get_global_client

    found: dict[str, Any] = _get_global_client().get_serve_details()["applications"][APPLICATION]
    return found


def _below(pid: int) -> list[int]:
    found = children(pid)
    return [*found, *(each for child in found for each in _below(child))]


def haproxy() -> dict[str, str]:
    """The environment with which HAProxy sends requests to the replicas, instead of Serve's own proxy."""
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",  # the default of 30 s is for load balancers
    }


@contextmanager
def started(port: int, *, nodes: int, environment: dict[str, str] | None = None) -> Iterator[Nodes]:
    """A cluster with Serve; ends all its processes."""
    os.environ.update({**FAST, **(environment or {})})
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES, "include_dashboard": False},
    )
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        found = Nodes(cluster, port)
        found.add(nodes)
        serve.start(
            http_options={"host": "127.0.0.1", "port": port},
            proxy_location="HeadOnly",
            logging_config={"enable_access_log": False, "log_level": "ERROR"},
        )
        yield found
        serve.shutdown()
    finally:
        ray.shutdown()
        cluster.shutdown()
