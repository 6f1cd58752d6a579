"""The command ``training new``."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console

from training.disk import replaced
from training.errors import SettingRefused, TrainingError
from training.network.backbones import IMAGENET, NONE, Backbone, BackboneName
from training.new.draft import recipe_path
from training.new.image_table import look_at_image_table
from training.new.images import look_at_images
from training.new.table import look_at_table
from training.new.target_options import TargetOptions
from training.new.texts import look_at_texts
from training.runs.catalogue import load_recipe

MOST_NOTES = 20


def new_recipe(
    name: Annotated[str, typer.Argument(help="Name of the new model: letters, digits and -.")],
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder with one folder of pictures for each class, or a CSV or Parquet file with paths of pictures "
            "and their labels.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file whose columns predict another one.", show_default=False)
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file with texts and their labels.", show_default=False)
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="Column to predict [default: the last one; of texts, one with a usual name].", show_default=False
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(help="A row has several labels, with this character between them.", show_default=False),
    ] = None,
    weight: Annotated[
        str | None, typer.Option(help="Column that says how much each row counts in training.", show_default=False)
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Column of the texts [default: the longest].", show_default=False)
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help=f"Pre-trained network to start from, for pictures: {', '.join(get_args(BackboneName))} [default: "
            "none, from scratch].",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of the backbone: imagenet (downloaded), none, or a file [default: imagenet].",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Look at data of your own, and write a recipe that trains on it.

    The recipe is one short file, NAME.py in ATELIER_RECIPES_DIR (default: recipes/ in the working directory). Nothing
    is trained and the data is not changed.
    """
    path = recipe_path(name)
    given = [option for option, value in (("--images", images), ("--texts", texts), ("--table", table)) if value]
    if len(given) != 1:
        raise SettingRefused(
            "name the data with one option: --images DIR, --texts FILE or --table FILE; "
            f"given: {' and '.join(given) or 'none'}"
        )
    if text_column and not texts:
        raise SettingRefused("--text-column is for --texts")
    chosen = _backbone(backbone, weights, has_images=images is not None)
    if separator == "":
        raise SettingRefused("--separator is empty; give the character between the labels of a row")
    options = TargetOptions(separator=separator or "", weight=weight or "")
    if images and images.is_file():
        draft = look_at_image_table(name, images, target, options, chosen)
    elif images:
        for option, value in (("--target", target), ("--separator", separator), ("--weight", weight)):
            if value:
                raise SettingRefused(
                    f"{option} is for --texts and --table; the classes of pictures are the names of their folders, or "
                    "give --images a CSV or Parquet file with paths of pictures and their labels"
                )
        draft = look_at_images(name, images, chosen)
    elif texts:
        draft = look_at_texts(name, texts, text_column, target, options)
    elif table:
        draft = look_at_table(name, table, target, options)
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
    try:
        load_recipe(str(path)).data.load()  # type: ignore[union-attr]  # the rules of `run`, before it is recommended
    except TrainingError:
        path.unlink()
        raise
    console.print(f"recipe: {path}", highlight=False, soft_wrap=True)
    console.print(f"next: python -m training run {name} --publish", highlight=False, soft_wrap=True)


def _backbone(name: str | None, weights: str | None, *, has_images: bool) -> Backbone | None:
    """The pre-trained network that the options name; None without one.

    Raises:
        SettingRefused: an option that does not fit the others, an unknown network, or no file of weights.
    """
    if not has_images and (name or weights):
        raise SettingRefused("--backbone and --weights are for --images")
    if weights and not name:
        raise SettingRefused(f"--weights requires --backbone: {', '.join(get_args(BackboneName))}")
    if name is None:
        return None
    if name not in get_args(BackboneName):
        raise SettingRefused(f"--backbone {name}: choose one of {', '.join(get_args(BackboneName))}")
    if weights not in {None, IMAGENET, NONE}:
        if not Path(weights).is_file():
            raise SettingRefused(f"--weights {weights}: there is no such file; or give imagenet, or none")
        weights = str(Path(weights).resolve())
    return Backbone(name=cast("BackboneName", name), weights=weights or IMAGENET)
