"""A replica: the service's own ASGI application with its lifespan, in a process that Ray Serve starts."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from app.edge.respond import ASGIApp
from app.lifecycle.readiness import not_ready_reason
from app.main import create_app
from app.runtime.devices import cpu_threads
from app.settings import Settings
from app.telemetry.logging import configure_logging
from app.wiring.application import Atelier
from deploy.ray.arguments import Arguments, Group
from deploy.ray.closed import Closed
from deploy.ray.processes import ReplicaProcesses

EVERYWHERE = "0.0.0.0"
"""Serve listens, where its http_options say; a replica must not take its clients for local ones."""


class NotReady(Exception):
    """The replica cannot answer; Serve replaces it."""


class Replica:
    """Serves the models of one group. ``serve.ingress`` makes it a deployment that answers HTTP.

    Args:
        arguments: of the application, as plain values.
        group: name of its group.
        counts: handle of ``Counts``.
    """

    def __init__(self, arguments: Mapping[str, Any], group: str, counts: DeploymentHandle) -> None:
        stated = Arguments(**arguments)
        [mine] = [each for each in stated.groups if each.name == group]
        settings = settings_of(stated, mine)
        configure_logging(level=settings.log_level, form=settings.log_format)
        processes = ReplicaProcesses(counts, serve.get_replica_context().replica_id.unique_id)
        self._atelier = create_app(settings, processes)
        self._atelier.lifespan = partial(_lifespan, live=self._atelier.lifespan, processes=processes)

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """The application. Serve then runs the start of its lifespan, which ends when the models are loaded."""
        return Closed(self._atelier)

    async def check_health(self) -> None:
        """Called by Serve after the start, and every ten seconds.

        Raises:
            NotReady: /v2/health/ready would not answer 200; says why.
        """
        if (reason := not_ready_reason(self._atelier.registry)) is not None:
            raise NotReady(reason)


def settings_of(arguments: Arguments, group: Group) -> Settings:
    """The settings of a replica.

    ``workers`` is the number of replicas that fit on the node by their CPUs: each gets its share of the CPU threads.
    """
    threads = max(1, round(group.num_cpus))
    place: dict[str, Any] = {"models_dir": arguments.models_dir}
    if group.models:
        place = {"model_config_file": _model_config(Path(arguments.models_dir), group)}
    fixed: dict[str, Any] = {
        "host": EVERYWHERE,
        "admin": "off",
        "workers": max(1, cpu_threads() // threads),
        "shared_memory": False,
    }
    return Settings(**arguments.settings, **place, **fixed)


def _model_config(models_dir: Path, group: Group) -> Path:
    """A file that names the models of a group, in TensorFlow Serving's format."""
    listed = "\n".join(f'  config {{ name: "{name}" base_path: "{models_dir / name}" }}' for name in group.models)
    with tempfile.NamedTemporaryFile("w", prefix=f"atelier-{group.name}-", suffix=".config", delete=False) as file:
        file.write(f"model_config_list {{\n{listed}\n}}\n")
    return Path(file.name)


@asynccontextmanager
async def _lifespan(app: Atelier, *, live: Any, processes: ReplicaProcesses) -> AsyncIterator[None]:
    """The lifespan of the service; meanwhile the counts are reported, also those of the requests that it drains."""
    async with processes.telling(app.metrics), live(app):
        yield
