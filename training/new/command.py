"""The command ``training new``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.disk import replaced
from training.errors import SettingRefused
from training.new.draft import recipe_path
from training.new.images import look_at_images

MOST_NOTES = 20


def new_recipe(
    name: Annotated[str, typer.Argument(help="Name of the new model: letters, digits and -.")],
    images: Annotated[
        Path | None, typer.Option(help="Folder with one folder of pictures for each class.", show_default=False)
    ] = None,
) -> None:
    """Look at data of your own, and write a recipe that trains on it.

    The recipe is one short file, NAME.py in ATELIER_RECIPES_DIR (default: recipes/ in the working directory). Nothing
    is trained and the data is not changed.
    """
    path = recipe_path(name)
    if images is None:
        raise SettingRefused("name the data: --images DIR")
    draft = look_at_images(name, images)
    console = Console()
    width = max(len(fact) for fact, _ in draft.facts)
    for fact, value in draft.facts:
        console.print(f"{fact:<{width}}  {value}", highlight=False, markup=False, soft_wrap=True)
    for note in draft.notes[:MOST_NOTES]:
        console.print(f"- {note}", highlight=False, markup=False, soft_wrap=True)
    if len(draft.notes) > MOST_NOTES:
        console.print(f"- and {len(draft.notes) - MOST_NOTES} more notes", highlight=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        temporary.write_text(draft.text, encoding="utf-8")
    console.print(f"recipe: {path}", highlight=False, soft_wrap=True)
    console.print(f"next: python -m training run {name} --publish", highlight=False, soft_wrap=True)
