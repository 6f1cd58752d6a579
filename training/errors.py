"""Every way a training command can fail because of what it was given. The CLI prints the sentence and exits 2.

TrainingError
├── RecipeNotFound     no recipe of this name in training/recipes
├── RecipeBroken       a file in training/recipes cannot be imported
├── SettingRefused     an override names no field, or its value does not fit the field's type
├── DataMissing        a data set's file is neither on disk nor downloadable
├── DataDamaged        a data set's file is there but is not what its maker published
├── RunNotFound        there is no such run, or none that was interrupted
├── DataUnusable       a data set is whole, but nothing can be learned from it: empty, one class, NaN
├── DiskFull           a file could not be written for want of space
├── TrainingDiverged   the loss became NaN or infinite
├── StageDied          the process of a stage that trained beside the others ended
├── ExportFailed       (training.export.model_export) a model cannot be written as SavedModel or ONNX
├── PassFailed         (training.export.onnx_graph) a graph does not have the form that a pass needs
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
    """An override names no field, or its value does not fit the field."""


class DataMissing(TrainingError):
    """A file of a data set is neither on disk nor could it be downloaded."""


class DataDamaged(TrainingError):
    """A file of a data set has another checksum or layout than its maker's."""


class DataUnusable(TrainingError):
    """Nothing can be learned from the data: a part is empty, has one class, or holds NaN."""


class RunNotFound(TrainingError):
    """The run directory named, or one to resume, does not exist."""


class DiskFull(TrainingError):
    """No space is left for a file of the run or of a version."""


class StageDied(TrainingError):
    """The process of a stage that trained beside the others ended by itself."""


class TrainingDiverged(TrainingError):
    """The loss became NaN or infinite."""
