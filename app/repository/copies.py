"""The mark in a models directory that is the copy of another one, in which settings are changed."""

from pathlib import Path

from app.contract.files.regular import read_file
from app.errors import Forbidden, VersionRefused

# In the models directory; its content is the URL that was copied.
MARK = ".copy-of"
_LIMIT_BYTES = 65_536


def origin(models_dir: Path) -> str | None:
    """The URL of which a models directory is a copy; None if it is not one."""
    try:
        return read_file(models_dir / MARK, _LIMIT_BYTES).decode(errors="replace").strip()
    except (OSError, VersionRefused):
        return None


def refuse_in_copy(model_directory: Path) -> None:
    """Refuse to write settings that the next copy would overwrite.

    Raises:
        Forbidden: the model's directory is in a copy.
    """
    if (url := origin(model_directory.parent)) is not None:
        raise Forbidden(
            f"serving.json of model {model_directory.name!r} is a copy from {url}; change it there, and every machine "
            "follows"
        )
