"""``--strategy``: one training on several devices or machines, by ``tf.distribute``.

Every replica computes the gradients of its part of each batch; their sum is that of the whole batch, so the curve is
that of one process to rounding. Two things are not: dropout draws other numbers in every replica, and batch
normalisation measures its own part.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from training.errors import SettingRefused
from training.recipe.recipe import Recipe

VARIABLE = "TF_CONFIG"
FORM = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'


class Kind(StrEnum):
    """How a training is distributed."""

    NONE = "none"
    MIRRORED = "mirrored"
    MULTI_WORKER = "multi-worker"
    RAY = "ray"  # starts workers, each of which is one of multi-worker: training.on_ray


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Where a training runs.

    Attributes:
        strategy: of ``tf.distribute``; None for one device.
        index: of this process among the workers; worker 0 is the chief, the only one that writes files.
        workers: number of processes.
    """

    strategy: Any = None
    index: int = 0
    workers: int = 1

    @property
    def replicas(self) -> int:
        """Parts that each batch is divided into."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Variables that are made in the body are on every replica."""
        if self.strategy is None:
            yield
            return
        with self.strategy.scope():
            yield

    def divided(self, batches: Any) -> Any:
        """The data set, of which every worker reads all and takes its part of each batch."""
        if self.strategy is None or batches is None:
            return batches
        import tensorflow as tf

        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return batches.with_options(options)


ALONE = Distribution()


def open_distribution(kind: Kind, say: Callable[[str], None]) -> Distribution:
    """Start the strategy; before anything else of TensorFlow is used. Waits for the other workers, and says so.

    Raises:
        SettingRefused: TF_CONFIG is missing or malformed.
    """
    if kind is Kind.NONE:
        return ALONE
    import tensorflow as tf

    if kind is Kind.MIRRORED:
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return Distribution(strategy=tf.distribute.MirroredStrategy([device.name for device in devices]))
    index, workers = read_cluster(os.environ.get(VARIABLE))
    say(f"worker {index} ({workers} in all) waits until the others have started")
    return Distribution(strategy=tf.distribute.MultiWorkerMirroredStrategy(), index=index, workers=workers)


def read_cluster(text: str | None) -> tuple[int, int]:
    """Index of this worker, and number of workers, from the value of TF_CONFIG.

    Raises:
        SettingRefused: it is missing, or does not have the form that ``tf.distribute`` requires.
    """
    if not text:
        raise SettingRefused(f"--strategy multi-worker requires {VARIABLE} in the environment, for example {FORM}")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SettingRefused(f"{VARIABLE} is not JSON: {error}; write {FORM}") from error
    parts = document if isinstance(document, dict) else {}
    cluster, task = parts.get("cluster"), parts.get("task")
    if not isinstance(cluster, dict) or set(cluster) != {"worker"}:
        raise SettingRefused(f'{VARIABLE}: "cluster" must have "worker" and nothing else; write {FORM}')
    addresses = cluster["worker"]
    if not isinstance(addresses, list) or not addresses or not all(_is_address(address) for address in addresses):
        raise SettingRefused(f'{VARIABLE}: "worker" must be a list of HOST:PORT, not {json.dumps(addresses)}')
    if not isinstance(task, dict) or task.get("type") != "worker":
        raise SettingRefused(f'{VARIABLE}: "task" must have "type": "worker" and "index"; write {FORM}')
    index = task.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(addresses):
        raise SettingRefused(
            f'{VARIABLE}: "index" must be a number from 0 to {len(addresses) - 1}, one for each worker, '
            f"not {json.dumps(index)}"
        )
    return index, len(addresses)


def _is_address(address: object) -> bool:
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def refuse_together(recipe: Recipe, distribution: Distribution) -> None:
    """Refuse what a distributed training cannot do; nothing for one device.

    Raises:
        SettingRefused: names the setting.
    """
    if distribution.strategy is not None:
        refuse_divided(recipe, distribution.replicas)


def refuse_divided(recipe: Recipe, replicas: int) -> None:
    """Refuse what a training that is divided among ``replicas`` cannot do.

    Raises:
        SettingRefused: names the setting.
    """
    rows = recipe.fitting.batch_size
    for refused, sentence in (
        (recipe.stages, f"{recipe.name} trains in stages, which --strategy does not distribute; run it without"),
        (
            recipe.optimizer.ema_momentum,
            "--strategy does not average weights; set optimizer.ema_momentum=none, or run it without",
        ),
        (
            recipe.fitting.mixed_precision != "float32",
            "--strategy trains in float32; set fitting.mixed_precision=float32",
        ),
        (
            recipe.fitting.descent != "mini-batch",
            f"--strategy divides mini-batches; fitting.descent is {recipe.fitting.descent}",
        ),
        (
            rows % replicas,
            f"fitting.batch_size {rows} cannot be divided by {replicas} replicas; choose a multiple of {replicas}",
        ),
    ):
        if refused:
            raise SettingRefused(sentence)
