"""Looks at a table of pictures and drafts its recipe."""

from pathlib import Path

from training.errors import DataUnusable
from training.network.backbones import Backbone
from training.new.draft import Draft, balance, in_docstring, is_unbalanced, some, source
from training.new.images import TEMPLATE, as_classes, epochs_of, extent, network_of, size_for, sizes_of
from training.new.target_options import TargetOptions
from training.new.texts import usual_target
from training.sources.image_listing import SUFFIXES
from training.sources.image_table import paths_of
from training.sources.labels import label_of, rows_with_target
from training.sources.table_file import TableFile, is_missing, read_table

TABLE = """    # One row for each picture. 15 % of the rows choose the best epoch, 15 % test the result.
    data=ImageTable(
        file={file},
        picture={picture},
        target={target},{options}
        validation_share=0.15,
        test_share=0.15,{skip}
    ),"""


def look_at_image_table(
    name: str, file: Path, target: str | None, options: TargetOptions, backbone: Backbone | None = None
) -> Draft:
    """Open every picture that a table names, and draft a recipe.

    Args:
        name: of the model.
        file: CSV or Parquet.
        target: column of the labels; None takes one with a usual name, or the only other one.
        options: of the target.
        backbone: the pre-trained network to start from; None: a small network, from scratch.

    Raises:
        DataMissing, DataDamaged, DataUnusable: see ``read_table`` and ``paths_of``; or a picture cannot be read.
    """
    table = read_table(file.resolve())
    picture = _picture_column(table)
    target = target or usual_target(table, picture)
    options.check(table, picture, target)
    rows = rows_with_target(table, target, skip=True)
    names = [str(path) for path in paths_of(table, picture, rows)]
    sizes, broken = sizes_of(table.path.parent, names)
    if broken:
        path, reason = next(iter(broken.items()))
        raise DataUnusable(f"{path}: {reason}; correct it, or remove its row from {table.path}")
    cells = [label_of(table.column(target)[row]) for row in rows]
    counts, size = options.counts(cells), size_for(sizes, backbone)
    gaps = table.rows - len(rows)
    facts = [
        ("pictures", f"{len(names)} in column {picture!r}, {balance(counts)} in column {target!r}"),
        *options.facts(cells),
        ("sizes", extent(sizes, size)),
        ("without a label", f"{gaps} rows" if gaps else "none"),
    ]
    unbalanced = is_unbalanced(counts) and not options.separator
    notes = []
    if gaps:
        notes.append("rows without a label are left out (skip_without_target)")
    if unbalanced:
        notes.append("the classes differ in size by more than a factor of 2: the recipe weighs them (class_weights)")
    if min(counts.values()) < 50:
        notes.append(f"some {options.kind} have fewer than 50 pictures: more pictures help more than any setting")
    batch = 32 if len(rows) >= 600 else 16
    text = TEMPLATE.format(
        **network_of(backbone, batch),
        **as_classes(len(counts), options),
        labels=in_docstring(some(list(counts), 10)),
        path=in_docstring(str(table.path)),
        data=TABLE.format(
            file=source(str(table.path)),
            picture=source(picture),
            target=source(target),
            options=options.source,
            skip="\n        skip_without_target=True," if gaps else "",
        ),
        source_import="image_table import ImageTable",
        name=name,
        size=size,
        epochs=epochs_of(len(rows), backbone),
        batch=batch,
        weights="balanced" if unbalanced else "none",
    )
    return Draft(facts=facts, notes=notes, text=text)


def _picture_column(table: TableFile) -> str:
    """The first column whose values are names of picture files.

    Raises:
        DataUnusable: there is none.
    """
    for name, cells in table.columns.items():
        present = [str(cell) for cell in cells if not is_missing(cell)]
        if present and all(Path(cell.strip()).suffix.lower() in SUFFIXES for cell in present):
            return name
    raise DataUnusable(f"{table.path} has no column with names of picture files; there are: {', '.join(table.columns)}")
