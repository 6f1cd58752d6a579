"""Builds the application, for ``serve run deploy.ray.application:build models_dir=DIR`` or a Serve configuration."""

from typing import TYPE_CHECKING, Any

from ray import serve

from app.settings import Settings
from deploy.ray.arguments import Arguments, Group
from deploy.ray.counts import Counts
from deploy.ray.group_replica import GroupReplica
from deploy.ray.ingress import Ingress
from deploy.ray.replica import Replica

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

# Beyond the time in which a replica finishes its queues.
SHUTDOWN_MARGIN_S = 10.0
INGRESS_CPUS = 0.5
INGRESS_REQUESTS = 1024
"""In progress in one replica of the ingress, which only waits for the groups."""
NO_ACCESS_LOG = {"enable_access_log": False}
"""Serve would write a line for each request, also for each report of counts; the service has an access log itself."""
TARGET_ONGOING_REQUESTS = 32
"""Per replica. Serve's own default is 2, which is less than a batch."""


def build(args: Arguments) -> serve.Application:
    """The application of Ray Serve.

    One group is its own ingress, so that a request reaches a replica directly. With several groups an ingress reads
    the name of the model in the path.
    """
    counts: DeploymentHandle = (
        serve.deployment(Counts)
        .options(num_replicas=1, ray_actor_options={"num_cpus": 0}, logging_config=NO_ACCESS_LOG)
        .bind()
    )
    if len(args.groups) == 1:
        return _deployment(serve.ingress()(Replica), args, args.groups[0], counts)
    groups = {group.name: _deployment(GroupReplica, args, group, counts) for group in args.groups}
    owners = {model: group.name for group in args.groups for model in group.models}
    ingress = serve.deployment(serve.ingress()(Ingress)).options(
        name="ingress",
        num_replicas=args.ingress_replicas,
        max_ongoing_requests=INGRESS_REQUESTS,
        ray_actor_options={"num_cpus": INGRESS_CPUS},
        logging_config=NO_ACCESS_LOG,
    )
    return ingress.bind(groups, owners, Settings(**args.settings).body_limit_bytes)


def _deployment(kind: type, args: Arguments, group: Group, counts: Any) -> serve.Application:
    """The replicas of one group."""
    size: dict[str, Any] = {"num_replicas": group.replicas or 1}
    if group.autoscaling is not None:
        autoscaling = {"target_ongoing_requests": TARGET_ONGOING_REQUESTS, **group.autoscaling}
        size = {"num_replicas": None, "autoscaling_config": autoscaling}
    deployment = serve.deployment(kind).options(
        name=group.name,
        max_ongoing_requests=group.max_ongoing_requests,
        max_surge_percent=group.max_surge_percent,
        graceful_shutdown_timeout_s=Settings(**args.settings).shutdown_timeout_s + SHUTDOWN_MARGIN_S,
        ray_actor_options={"num_cpus": group.num_cpus, "num_gpus": group.num_gpus},
        logging_config=NO_ACCESS_LOG,
        **size,
    )
    return deployment.bind(args.model_dump(mode="json"), group.name, counts)
