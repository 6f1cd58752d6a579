"""The measurements as a table, and the chosen setting as keys of serving.json."""

from typing import Any

from rich.table import Column, Table

from app.autotune.choice import QUIET, Measurement, Setting
from app.autotune.measure import Load
from app.autotune.run import Tuning
from app.loaded import LoadedModel


def table_of(tuning: Tuning, chosen: Measurement | None, *, model: LoadedModel, load: Load, p99_ms: float) -> Table:
    """One row per setting, in the given order.

    Args:
        tuning: the measurements.
        chosen: marked in the last column, like the current setting.
        model: named in the title; text models get a column for their buckets.
        load: for the title.
        p99_ms: the limit.
    """
    text = model.sequence is not None
    table = Table(
        Column("max_batch_size", justify="right"),
        Column("max_queue_delay_us", justify="right"),
        *(["length_buckets"] if text else []),
        Column("instances/s", justify="right"),
        Column("spread", justify="right"),
        Column("p50 ms", justify="right"),
        Column("p99 ms", justify="right"),
        f"p99 <= {p99_ms:g} ms",
        "",
        title=f"{model.name} version {model.version}: model and batcher alone, without HTTP; "
        f"{load.concurrency} clients, one instance each",
    )
    for each in tuning.measurements:
        marks = [word for word, is_it in (("chosen", each is chosen), ("now", each.setting == tuning.now)) if is_it]
        table.add_row(
            str(each.setting.max_batch_size),
            str(each.setting.max_queue_delay_us),
            *([_in_words(each.setting.length_buckets)] if text else []),
            f"{each.instances_per_s:,.0f}",
            f"{each.spread:.0%}",
            f"{each.p50_ms:.3f}",
            f"{each.p99_ms:.3f}",
            "yes" if each.p99_ms <= p99_ms else "no",
            ", ".join(marks),
            style="bold" if each is chosen else None,
        )
    return table


def batching_keys(setting: Setting, model: LoadedModel) -> dict[str, Any]:
    """The setting as keys of serving.json; models without texts have no length buckets."""
    keys: dict[str, Any] = {
        "max_batch_size": setting.max_batch_size,
        "max_queue_delay_us": setting.max_queue_delay_us,
    }
    return keys if model.sequence is None else keys | {"length_buckets": list(setting.length_buckets)}


def doubt_about(chosen: Measurement) -> str | None:
    """Reasons not to rely on the choice."""
    if chosen.spread <= QUIET:
        return None
    spread = f"the repeats of the chosen setting spread by {chosen.spread:.0%}"
    return f"{spread}; run nothing else during the measurement, or raise --seconds"


def _in_words(buckets: tuple[int, ...]) -> str:
    return f"{len(buckets)}: {buckets[0]} to {buckets[-1]}" if buckets else "none"
