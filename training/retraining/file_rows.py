"""New rows from files: pictures in class folders, texts with labels, rows of a table. Imports no TensorFlow."""

from pathlib import Path

import numpy as np

from training.data.image_files import decoder_of, open_files
from training.data.pipelines import Feed, ImagePipeline, TablePipeline, TextPipeline
from training.datasets.splits import Examples, Splits
from training.errors import DataUnusable, SettingRefused
from training.recipe.recipe import Recipe
from training.sources.image_listing import KINDS, folders_in, pictures_below
from training.sources.labels import known_class, known_classes, numbers, rows_with_target
from training.sources.table import Table, input_name
from training.sources.table_file import TableFile, read_table
from training.sources.text_table import TextTable, texts_of


def read_pictures(folder: Path, recipe: Recipe, feed: Feed, old: Splits) -> Examples:
    """The pictures of a folder of class folders, which need not have all classes; ``/`` in a label is ``_``.

    Args:
        folder: of the class folders.
        recipe, feed, old: see ``read_new_rows``.

    Raises:
        DataUnusable: a folder is not named like a class, there are no pictures, or one cannot be decoded.
        SettingRefused: the recipe does not read pictures, or its steps make none that its network takes.
    """
    if not isinstance(recipe.pipeline, ImagePipeline):
        raise SettingRefused(f"{folder} is a folder, but {recipe.name} does not read pictures; give a file")
    folder_names = tuple(label.replace("/", "_") for label in old.labels)  # no folder may be called T-shirt/top
    paths: list[str] = []
    labels: list[int] = []
    for inside in folders_in(folder):
        number = known_class(f"{inside}: the folder", inside.name, folder_names)
        pictures, _ = pictures_below(inside, folder)
        paths += [str(folder / name) for name in pictures]
        labels += [number] * len(pictures)
    if not paths:
        raise DataUnusable(
            f"{folder} has no pictures in class folders; expected {KINDS} files in folders called "
            f"{', '.join(folder_names)}"
        )
    nothing = Examples(instances=(), labels=np.zeros(0, np.int32))
    found = Splits(
        name=folder.name,
        form="class folders",
        files={},
        labels=old.labels,
        train=Examples(instances=tuple(paths), labels=np.array(labels, np.int32)),
        validation=nothing,
        read_test=lambda: nothing,
    )
    decoder = decoder_of(recipe.pipeline)
    if decoder.target.shape != feed.input.shape:
        raise SettingRefused(
            f"the steps of {recipe.name} make pixels of shape {decoder.target.shape} of a picture, but its network "
            f"takes {feed.input.shape}; pictures in files cannot be used for it"
        )
    limit_bytes = recipe.pipeline.memory_limit_mb * 2**20
    return open_files(found, decoder, limit_bytes=limit_bytes, cure="remove it").train


def read_rows(path: Path, recipe: Recipe, feed: Feed, old: Splits) -> Examples:
    """The rows of a CSV or Parquet file.

    Args:
        path: of the file. It has the columns of the recipe; ``text`` and ``label`` if that names none.
        recipe, feed, old: see ``read_new_rows``.

    Raises:
        DataMissing, DataDamaged, DataUnusable: see ``read_table``; or a row has no usable value or label, and is named.
        SettingRefused: the recipe reads no rows of files.
    """
    if isinstance(recipe.pipeline, TextPipeline):
        return _texts(read_table(path), recipe, old)
    if isinstance(recipe.pipeline, TablePipeline) and isinstance(recipe.data, Table):
        return _table(read_table(path), recipe.data, feed, old)
    wanted = "a folder of class folders" if isinstance(recipe.pipeline, ImagePipeline) else "recordings"
    raise SettingRefused(
        f"{path.name} is a file, but {recipe.name} is retrained with {wanted}; recordings are exported with "
        f"`python -m app recordings {recipe.name} --export FILE.jsonl`"
    )


def _texts(table: TableFile, recipe: Recipe, old: Splits) -> Examples:
    source = recipe.data
    column, target, skip = "text", "label", False
    if isinstance(source, TextTable):
        column, target, skip = source.text, source.target, source.skip_without_target
    texts = texts_of(table, column, skip=skip)
    rows = [row for row in rows_with_target(table, target, skip=skip) if texts[row]]
    labels = known_classes(table, target, rows, old.labels)
    return Examples(instances=tuple(texts[row] for row in rows), labels=labels)


def _table(table: TableFile, source: Table, feed: Feed, old: Splits) -> Examples:
    [target] = source.all_targets
    rows = rows_with_target(table, target.source, skip=source.skip_without_target)
    instances = source.instances(table, rows)
    must_be_finite = {tensor.name for tensor in feed.inputs if tensor.dtype == "float32" and tensor.finite}
    for column in source.numbers:
        gaps = np.flatnonzero(np.isnan(instances[input_name(column)]))
        if input_name(column) in must_be_finite and len(gaps):
            raise DataUnusable(
                f"{table.path}: row {rows[int(gaps[0])] + 1} has no value in column {column!r}; the model accepts none "
                "there, because its training data had no gaps in it"
            )
    if old.labels:
        return Examples(instances=instances, labels=known_classes(table, target.source, rows, old.labels))
    values = numbers(table, target.source, rows, cure="correct it")
    return Examples(instances=instances, labels=values[:, None])
