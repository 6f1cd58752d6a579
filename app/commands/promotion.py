"""``promote`` and ``rollback`` without a service: they write the label "stable" into serving.json.

No version is loaded: where serving.json names no stable version, the newest one on the disk counts as the default
version before, although it may not load. The routes of a running service know better.
"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.commands.shared import fail, open_repository, with_model_options
from app.errors import ServingError
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.repository.repository import Repository
    from app.repository.serving_file import Promotion


@with_model_options
def promote(
    settings: Settings,
    model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")],
    version: Annotated[int, typer.Argument(help="Version to make the default.")],
) -> None:
    """Make a version the default version of a model.

    The version gets the label "stable" in serving.json, and answers requests without a version. A running service
    follows within seconds. If the version does not load, the previous version continues to serve.
    This command loads nothing: if no version is stable, it records the newest as the previous default.
    """
    from app.contract.manifest import verify_manifest
    from app.repository.layouts import Layout, layout_of

    def check_and_write(repository: "Repository", versions: list[int]) -> "Promotion":
        place = repository.places.of(model)
        directory = place.version_directory(version)
        if version in versions and place.file is None and layout_of(directory) is Layout.ATELIER:
            verify_manifest(directory)
        return repository.promote(model, version, default=None, versions=versions)

    _relabel(settings, model, check_and_write)


@with_model_options
def rollback(
    settings: Settings, model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")]
) -> None:
    """Undo the last promotion.

    If there was none, the next older version becomes the default.

    This command loads nothing: if no version is stable, it goes back from the newest.
    """
    _relabel(settings, model, lambda repository, versions: repository.rollback(model, default=None, versions=versions))


def _relabel(settings: Settings, model: str, write: "Callable[[Repository, list[int]], Promotion]") -> None:
    """Change the label with the versions that are on the disk, and print what has changed."""
    from app.repository.policy import POLICY_FILE

    repository = open_repository(settings)
    try:
        versions = repository.versions(model)
        place = repository.places.of(model)
        promotion = write(repository, versions)
    except ServingError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or model}: {error.strerror or error}")
    line = f"{model}: version {promotion.version} is stable"
    before = f" (previously {promotion.before})" if promotion.before not in {None, promotion.version} else ""
    Console(soft_wrap=True).print(Text(f"{line}{before}. A running service follows within seconds."))
    if "version_labels" in place.stated:
        line = f"{place.directory / POLICY_FILE} now decides all labels of {model}"
        Console(soft_wrap=True).print(Text(f"{line}; version_labels in {settings.model_config_file} has no effect."))
