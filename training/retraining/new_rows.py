"""New rows with their right answers, in the form of the data of a recipe: from files, or from what a service recorded.

Imports no TensorFlow.
"""

from dataclasses import dataclass
from pathlib import Path

from app.contract.recordings.directory import RecordingDirectory
from training.data.pipelines import Feed, NextTokenPipeline
from training.datasets.splits import Examples, Splits
from training.errors import SettingRefused
from training.recipe.recipe import Recipe
from training.retraining.file_rows import read_pictures, read_rows
from training.retraining.recorded_rows import read_recorded_rows

RECORDINGS_SUFFIX = ".jsonl"


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """Rows that are new to a model.

    Attributes:
        examples: in the form of the old ones, opened.
        left_out: reason -> number of rows that cannot be used for it.
    """

    examples: Examples
    left_out: dict[str, int]


def read_new_rows(path: Path, recipe: Recipe, feed: Feed, old: Splits) -> NewRows:
    """Read new rows for a recipe.

    Args:
        path: of a folder of class folders, a CSV or Parquet file with the columns of the recipe, a file that
            ``python -m app recordings NAME --export`` wrote, or the directory of the recordings of a model.
        recipe: of the model.
        feed: its pipeline, bound to the old training part.
        old: the data of the recipe, opened.

    Raises:
        DataMissing, DataDamaged: the data cannot be read, or is not what it should be.
        DataUnusable: a row is not of the form of the old ones, or its label is unknown; names the row.
        SettingRefused: the kind of file is not one for the recipe, or nothing is for one that predicts the next token.
    """
    if isinstance(recipe.pipeline, NextTokenPipeline):
        raise SettingRefused(
            f"{recipe.name} predicts the next token of running text; there are no rows with right answers to retrain "
            f"it with: add the text to its data, and use `python -m training run {recipe.name}`"
        )
    if path.suffix == RECORDINGS_SUFFIX or (path.is_dir() and RecordingDirectory(path).segments()):
        examples, left_out = read_recorded_rows(path, recipe, feed, old)
        return NewRows(examples=examples, left_out=left_out)
    read = read_pictures if path.is_dir() else read_rows
    return NewRows(examples=read(path, recipe, feed, old), left_out={})
