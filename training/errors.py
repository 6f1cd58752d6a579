"""All errors of a training command that its input causes. The CLI prints the sentence and exits with 2.

TrainingError
├── RecipeNotFound     no recipe of this name in training/recipes
├── RecipeBroken       a file in training/recipes cannot be imported
├── SettingRefused     an override does not match a field, or its value does not fit the field's type
├── DataMissing        a data set's file is neither on disk nor downloadable
├── DataDamaged        a data set's file exists but is not what its maker published
├── RunNotFound        the run does not exist, or none was interrupted
├── DataUnusable       a data set is complete, but nothing can be learned from it: empty, one class, NaN
├── WeightsRefused     the weights of a published version do not fit the network of a recipe
├── SourceRefused      a model to import is damaged, contains code, or does not fit the options
├── DiskFull           a file could not be written for lack of space
├── TrainingDiverged   the loss became NaN or infinite
├── StageDied          the process of a stage that trains in parallel ended
├── WorkerDied         the process of a worker that Ray started ended
├── ExportFailed       (training.export.converting) a model cannot be written as SavedModel, ONNX or TensorFlow Lite
├── PassFailed         (training.export.onnx_graph) a graph does not have the form that a pass requires
├── NoOnnxForm         (training.export.recurrent_cells) a recurrent layer has a setting that ONNX lacks
├── ParityBroken       (training.export.parity) Keras, SavedModel and ONNX disagree
└── GoldenIncomplete   (training.publish.golden_search) no golden sample could be found for a class
"""


class TrainingError(Exception):
    """Base of the errors whose message is all that the user needs."""


class RecipeNotFound(TrainingError):
    """No recipe of this name exists."""


class RecipeBroken(TrainingError):
    """A recipe's file cannot be imported, or defines no recipe."""


class SettingRefused(TrainingError):
    """An override does not match a field, or its value does not fit the field."""


class DataMissing(TrainingError):
    """A file of a data set is not on disk and could not be downloaded."""


class DataDamaged(TrainingError):
    """A file of a data set differs from its maker's in checksum or layout."""


class DataUnusable(TrainingError):
    """Nothing can be learned from the data: a part is empty, has one class, or contains NaN."""


class RunNotFound(TrainingError):
    """The named run directory, or one to resume, does not exist."""


class DiskFull(TrainingError):
    """No space is left for a file of the run or of a version."""


class StageDied(TrainingError):
    """The process of a stage that trains in parallel ended by itself."""


class WorkerDied(TrainingError):
    """The process of a worker that Ray started ended by itself."""


class TrainingDiverged(TrainingError):
    """The loss became NaN or infinite."""


class SourceRefused(TrainingError):
    """A model to import is damaged, contains code, or does not fit the options."""


class WeightsRefused(TrainingError):
    """The weights of a published version do not fit the network of a recipe, or do not give its answers."""
