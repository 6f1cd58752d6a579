"""From a source to parts that a pipeline makes batches of: read, decoded if they are files, and checked."""

from training.data.pipelines import Pipeline
from training.datasets.check import read_splits
from training.datasets.splits import DataSource, Splits


def read_data(source: DataSource, pipeline: Pipeline, *, synthetic: bool) -> Splits:
    """Read a data set for a pipeline; the test part is checked when it is read, but its files exist and are valid.

    Args:
        source: of a recipe or a stage.
        pipeline: of the same.
        synthetic: whether to draw the data set in place of reading it.

    Raises:
        DataMissing, DataDamaged: see ``DataSource.load``.
        DataUnusable: see ``read_splits`` and ``Pipeline.open``.
        SettingRefused: the source draws no data, or a setting of the pipeline is wrong.
    """
    return pipeline.open(read_splits(source, synthetic=synthetic))
