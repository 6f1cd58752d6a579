"""Looks at a table and drafts its recipe: which columns are numbers, which categories, and what the target is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

from training.data.table_columns import MOST_CATEGORIES
from training.errors import DataUnusable
from training.new.draft import Draft, balance, epochs_for, in_docstring, is_unbalanced, some, source, tuple_source
from training.new.target_options import NO_OPTIONS, TargetOptions
from training.sources.labels import label_of
from training.sources.table import MOST_INPUTS
from training.sources.table_file import Cell, TableFile, is_missing, read_table

FEW_VALUES = 20
"""A target of whole numbers with at most this many different ones is a class, not an amount."""

TEMPLATE = '''"""Predicts {target} from {count} of a table.

Drafted from {path}
Train and publish: python -m training run {name} --publish
Change a number for one run: --set network.units=128,64, --set fitting.epochs=60 (all settings: docs, "Training")
"""

from training.data.pipelines import TablePipeline
{task_import}from training.network.table_networks import TableNetwork, build_table_network{finish_import}
from training.recipe.fitting import Fitting, {loss_import}Optimizer, Schedule
from training.recipe.recipe import Recipe, Targets
from training.sources.table import Table

RECIPE = Recipe(
    name="{name}",
    description={description},
    # Remove the columns that are not known yet when the service is asked, or that say the answer.
    data=Table(
        file={file},
        target={target_text},
        predicts="{predicts}",
        numbers={numbers},
        categories={categories},{options}
        validation_share=0.15,
        test_share=0.15,{skip}
    ),
    pipeline=TablePipeline(),
    network=TableNetwork(name="mlp", units=(64, 32), embedding=8, dropout=0.1),  # or name="linear"
    build=build_table_network,
{task}
    optimizer=Optimizer(name="adamw", learning_rate=0.005, schedule=Schedule(name="one-cycle"), weight_decay=0.01),
    fitting=Fitting(epochs={epochs}, batch_size={batch}, monitor="val_loss"{weights}),
    targets=Targets(test_accuracy=None),  # for classes, for example 0.9: nothing below it is published
)
'''
CLASSES = "    task=Classify(),"
NUMBER = """    task=Regress(),
    finish=in_own_unit,
    loss=Loss(name="mean-squared-error"),  # of deviations from the mean: 1 is no better than answering the mean
    metrics=("mean-absolute-error",),"""


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column looks like.

    Attributes:
        kind: ``number``, ``category``, or empty if it is of no use.
        summary: for the output.
    """

    name: str
    kind: str
    summary: str


def look_at_table(name: str, file: Path, target: str | None, options: TargetOptions = NO_OPTIONS) -> Draft:
    """Read the table, tell numbers from categories, and draft a recipe.

    Args:
        name: of the model.
        file: CSV or Parquet.
        target: column to predict; None takes the last one.
        options: of the target.

    Raises:
        DataMissing, DataDamaged, DataUnusable: see ``read_table``; or no column is of use.
    """
    table = read_table(file.resolve())
    target = target or [column for column in table.columns if column != options.weight][-1]
    options.check(table, target)
    wanted = [cell for cell in table.column(target) if not is_missing(cell)]
    if not wanted:
        raise DataUnusable(f"{table.path}: no row has a value in the target column {target!r}")
    columns = [
        _column(column, cells) for column, cells in table.columns.items() if column not in {target, options.weight}
    ]
    used = [column for column in columns if column.kind][:MOST_INPUTS]
    if not used:
        raise DataUnusable(f"{table.path}: no column besides the target {target!r} is of use: {_unused(columns)}")
    numbers = [column.name for column in used if column.kind == "number"]
    categories = [column.name for column in used if column.kind == "category"]
    predicts = "labels" if options.separator else _predicts(wanted)
    counts = {} if predicts == "number" else options.counts(list(map(label_of, wanted)))
    facts = [
        ("rows", f"{table.rows}, of which {_copies(table)} are copies of another row"),
        ("target", f"{target}: {_target(wanted, counts, options)}"),
        *options.facts(list(map(label_of, wanted))),
        ("without a target", f"{table.rows - len(wanted)} rows" if len(wanted) < table.rows else "none"),
        *((column.kind, f"{column.name}: {column.summary}") for column in used),
    ]
    notes = [f"not used: {column.name}: {column.summary}" for column in columns if column not in used]
    if len(wanted) < table.rows:
        notes.append(f"rows without {target} are left out (skip_without_target)")
    unbalanced = predicts == "classes" and is_unbalanced(counts)
    if unbalanced:
        notes.append("the classes differ in size by more than a factor of 2: the recipe weighs them (class_weights)")
    columns_used = f"{len(used)} column{'' if len(used) == 1 else 's'}"
    text = TEMPLATE.format(
        name=name,
        path=in_docstring(str(table.path)),
        target=in_docstring(target),
        target_text=source(target),
        count=columns_used,
        file=source(str(table.path)),
        description=source(f"{target} of a row, from {columns_used} of {table.path.name}."),
        predicts=predicts,
        numbers=tuple_source(numbers),
        categories=tuple_source(categories),
        skip="\n        skip_without_target=True," if len(wanted) < table.rows else "",
        options=options.source.replace('\n        predicts="labels",', ""),
        task=NUMBER if predicts == "number" else options.task.rstrip("\n") or CLASSES,
        task_import=options.task_import
        or f"from training.measure.tasks import {'Classify' if counts else 'Regress'}\n",
        loss_import="Loss, " if predicts == "number" else options.loss_import,
        finish_import=", in_own_unit" if predicts == "number" else "",
        epochs=epochs_for(len(wanted), rows_in_all=200_000, least=10, most=100),
        batch=64 if len(wanted) >= 1000 else 16,
        weights=', class_weights="balanced"' if unbalanced else "",
    )
    return Draft(facts=facts, notes=notes, text=text)


def _predicts(cells: Sequence[Cell]) -> str:
    """``classes`` for texts and for few whole numbers, ``number`` for all others."""
    values = _as_numbers(cells)
    few_whole = values is not None and all(map(float.is_integer, values)) and len(set(values)) <= FEW_VALUES
    return "classes" if values is None or few_whole else "number"


def _as_numbers(cells: Sequence[Cell]) -> list[float] | None:
    """The cells as numbers, if all are; True and False are none."""
    if any(isinstance(cell, bool) for cell in cells):
        return None
    try:
        return [float(cell) for cell in cells]
    except (TypeError, ValueError):
        return None


def _column(name: str, cells: Sequence[Cell]) -> Column:
    present = [cell for cell in cells if not is_missing(cell)]
    gaps = f", {len(cells) - len(present)} missing" if len(present) < len(cells) else ""
    different = len({label_of(cell) for cell in present})
    if different <= 1:
        return Column(name=name, kind="", summary=f"{different} value{gaps}")
    values = _as_numbers(present)
    if values is not None:
        if different == len(cells) and all(map(float.is_integer, values)) and _is_counter(values):
            return Column(name=name, kind="", summary="a different whole number in each row, in order: an identifier")
        return Column(name=name, kind="number", summary=f"{min(values):g} to {max(values):g}{gaps}")
    if isinstance(present[0], date) or different > MOST_CATEGORIES or different > 0.8 * len(present) > 20:
        what = "dates" if isinstance(present[0], date) else f"{different} different texts in {len(present)} rows"
        return Column(name=name, kind="", summary=what)
    frequent = [value for value, _ in Counter(map(label_of, present)).most_common()]
    return Column(name=name, kind="category", summary=f"{different} categories: {some(frequent)}{gaps}")


def _is_counter(values: Sequence[float]) -> bool:
    """Whether the values rise by one from row to row."""
    return all(later - earlier == 1 for earlier, later in pairwise(values))


def _copies(table: TableFile) -> int:
    rows = Counter(map(str, zip(*table.columns.values(), strict=True)))
    return sum(count - 1 for count in rows.values())


def _target(cells: Sequence[Cell], counts: Mapping[str, int], options: TargetOptions) -> str:
    if counts:
        return f"{options.which.lower()} of {len(counts)} {options.kind}: {balance(counts)}"
    values = sorted(map(float, cells))
    return f"a number from {values[0]:g} to {values[-1]:g}, half of them below {values[len(values) // 2]:g}"


def _unused(columns: Sequence[Column]) -> str:
    return "; ".join(f"{column.name} has {column.summary}" for column in columns) or "there is none"
