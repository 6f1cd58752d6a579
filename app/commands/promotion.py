"""``promote`` and ``rollback``: which version is the default."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.commands.shared import ModelsDir, fail, read_settings
from app.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.repository.serving_file import Promotion


def promote(
    model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")],
    version: Annotated[int, typer.Argument(help="Version to make the default.")],
    models_dir: ModelsDir = None,
) -> None:
    """Make a version the default version of a model.

    The version gets the label "stable" in serving.json, and answers requests without a version. A running service
    follows within seconds. If the version does not load, the previous version continues to serve.
    """
    from app.contract.manifest import verify_manifest
    from app.repository.serving_file import promote as write

    def check_and_write(directory: Path, versions: list[int]) -> "Promotion":
        if version in versions:
            verify_manifest(directory / str(version))
        return write(directory, version, versions=versions)

    _relabel(models_dir, model, check_and_write)


def rollback(
    model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")], models_dir: ModelsDir = None
) -> None:
    """Undo the last promotion.

    If there was none, the next older version becomes the default.
    """
    from app.repository.serving_file import rollback as write

    _relabel(models_dir, model, lambda directory, versions: write(directory, versions=versions))


def _relabel(models_dir: Path | None, model: str, write: "Callable[[Path, list[int]], Promotion]") -> None:
    """Change the stable version to one of those on the disk, and report the change."""
    from app.lifecycle.versions import no_model
    from app.repository.scan import scan

    settings = read_settings(models_dir=models_dir)
    directory = settings.models_dir / model
    try:
        found = scan(settings.models_dir)
        if model not in found:
            raise no_model(model, found)
        promotion = write(directory, found[model])
    except ServingError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or directory}: {error.strerror or error}")
    line = f"{model}: version {promotion.version} is stable"
    before = f", before it was {promotion.before}" if promotion.before not in {None, promotion.version} else ""
    Console(soft_wrap=True).print(Text(f"{line}{before}; a running service follows within seconds"))
