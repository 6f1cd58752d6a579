"""How much memory a version takes, estimated from its files: known before it loads, and the same after a restart."""

from app.contract.version_files import VersionFiles
from app.repository.policy import RunBy

# ONNX Runtime keeps the weights as they are in the file and, for many operations, once more in the order in which the
# processor reads them; a session and its buffers take some more. Measured: see docs/how-to/serve-many-models.md.
TIMES_ITS_FILES = 2
SESSION_BYTES = 4 * 2**20
# A SavedModel runs in a process with TensorFlow: 606 to 679 MB of resident memory.
PROCESS_BYTES = 600 * 2**20
# A backend of an installed package runs in a process with NumPy and what it imports, which is not known here.
PLUGIN_BYTES = 100 * 2**20


def memory_need(files: VersionFiles, backend: RunBy, instances: int) -> int:
    """Bytes of all instances of a version together.

    Args:
        files: of the version.
        backend: that runs it.
        instances: as in serving.json.
    """
    if backend == "savedmodel":
        return instances * (TIMES_ITS_FILES * files.saved_model_bytes + PROCESS_BYTES)
    if backend == "plugin":
        return instances * (TIMES_ITS_FILES * files.all_bytes + PLUGIN_BYTES)
    return instances * (TIMES_ITS_FILES * files.graph_bytes + SESSION_BYTES)
