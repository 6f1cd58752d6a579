"""``python -m training import``: a model that another tool saved becomes a version. Imports no TensorFlow."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from training import environment
from training.disk import space_wanted
from training.errors import SourceRefused

if TYPE_CHECKING:
    from training.importing.records import Made

TRIAL_DIRECTORY = "imported"


class Kind(StrEnum):
    """The kind of input that clients send."""

    TENSOR = "tensor"
    IMAGE = "image"
    TEXT = "text"


class Keep(StrEnum):
    """The end of a longer text that is kept."""

    FIRST = "first"
    LAST = "last"


class SplitInto(StrEnum):
    """How a text is split."""

    WORDS = "words"
    LINES = "lines"


def import_model(
    source: Annotated[
        Path, typer.Argument(metavar="FILE_OR_DIR", help="A .keras, .h5 or .onnx file, or a SavedModel directory.")
    ],
    name: Annotated[str, typer.Option(help="Name of the model.")],
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="Names of the scores, one per line.")] = None,
    kind: Annotated[Kind, typer.Option("--as", help="What clients send besides tensors.")] = Kind.TENSOR,
    samples: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Golden inputs by name [default: generated].")
    ] = None,
    size: Annotated[str, typer.Option(metavar="WxH", help="Images: size, if the model takes any.")] = "",
    steps: Annotated[
        list[str] | None,
        typer.Option(
            "--step", metavar="STEP", help="Images: a step, such as resize:width=28,height=28; may be repeated."
        ),
    ] = None,
    mean: Annotated[str, typer.Option(help="Images: the model gets (pixel - mean) / std. One number or three.")] = "",
    std: Annotated[str, typer.Option(help="Images: see --mean.")] = "",
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Texts: one token per line; the first one has id 2.")
    ] = None,
    max_length: Annotated[int, typer.Option(min=1, help="Texts: most tokens.")] = 256,
    keep: Annotated[Keep, typer.Option(help="Texts: the end of a longer text that is kept.")] = Keep.FIRST,
    scheme: Annotated[SplitInto, typer.Option(help="Texts: how they are split.")] = SplitInto.WORDS,
    signature: Annotated[str | None, typer.Option(help="SavedModel: the signature [default: serving_default].")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest difference from the model, for answers up to 1; at most 0.01.")
    ] = 1e-5,
    description: Annotated[str, typer.Option(help="One sentence for model.json.")] = "",
    trained_on: Annotated[str, typer.Option(help="Data set, for model.json.")] = "not known",
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run code in the file, such as Lambda layers. Only if you trust it.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Add the version to --models-dir instead of runs/imported.")
    ] = False,
    models: Annotated[Path, typer.Option("--models-dir", help="Directory of the published models.")] = Path("models"),
    runs: Annotated[Path, typer.Option("--runs", help="Directory that runs are written to.")] = Path("runs"),
) -> None:
    """Make a verified version of a model that another tool saved.

    Every format that can be made of it is compared with the model itself. Without --publish the version is written to
    runs/imported/, from where it can be served for a trial.
    """
    from app.contract.golden import LARGEST_TOLERANCE
    from training.importing.contract import TextOptions, check_name, describe, read_labels
    from training.importing.image_input import ImageOptions

    check_name(name)
    if not 0 < tolerance <= LARGEST_TOLERANCE:
        raise SourceRefused(f"--tolerance is {tolerance:g}; it must be above 0 and at most {LARGEST_TOLERANCE:g}")
    _check_options(
        kind,
        {
            Kind.IMAGE: {"--size": size, "--step": steps, "--mean": mean, "--std": std},
            Kind.TEXT: {"--vocabulary": vocabulary},
        },
    )
    names = read_labels(labels) if labels else ()
    console = Console()
    from training.importing.sources.opening import open_source

    opened = open_source(source, signature=signature, allow_code=allow_code)
    described = describe(
        opened,
        name=name,
        labels=names,
        image=ImageOptions(size=size, steps=steps or (), mean=mean, std=std) if kind is Kind.IMAGE else None,
        text=TextOptions(vocabulary=vocabulary, max_length=max_length, keep=keep.value, scheme=scheme.value)
        if kind is Kind.TEXT
        else None,
        description=description,
        trained_on=trained_on,
        frameworks={**environment.packages(), **opened.packages},
    )
    spec = described.spec
    for side, tensors in (("takes", spec.inputs), ("answers", spec.outputs)):
        console.print(f"{side} {', '.join(each.in_words for each in tensors)}", highlight=False, markup=False)
    from training.importing.samples import read_samples
    from training.importing.version import make_version

    given = read_samples(samples, spec) if samples else None
    repository = models if publish else runs / TRIAL_DIRECTORY
    with space_wanted("a file of the version", "free some space, and run the command again"):
        made = make_version(
            opened,
            described,
            samples=given,
            tolerance=tolerance,
            command=environment.command(),
            repository=repository,
        )
    _print(made, console, repository=repository, publish=publish)


def _check_options(kind: Kind, options: dict[Kind, dict[str, object]]) -> None:
    """Refuse options of another kind than the one in ``--as``."""
    for other, values in options.items():
        for option, value in values.items():
            if value and kind is not other:
                raise SourceRefused(f"{option} requires --as {other.value}; it is --as {kind.value}")


def _print(made: "Made", console: Console, *, repository: Path, publish: bool) -> None:
    for name, found in made.formats.items():
        worst = max(found.values())
        console.print(
            f"{name} agrees: largest difference {worst:.3g} in batches of {', '.join(found)}", highlight=False
        )
    for name, reason in made.left_out.items():
        console.print(f"[yellow]{name} left out:[/] {escape(reason)}", highlight=False, soft_wrap=True)
    for note in made.notes:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    if publish:
        console.print(f"published: {made.directory}", highlight=False, soft_wrap=True)
        return
    console.print(f"made: {made.directory}", highlight=False, soft_wrap=True)
    console.print(f"try it: python -m app serve --models-dir {repository}", highlight=False, soft_wrap=True)
    console.print("publish it: run the same command with --publish", highlight=False, soft_wrap=True)
