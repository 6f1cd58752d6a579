"""``explain``: why a model answers as it does, without a running service."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.commands.asking import FileOrText, inputs_of, opened
from app.commands.shared import fail, print_table, with_loading_options
from app.errors import ServingError
from app.settings import Settings
from app.telemetry.logging import configure_logging

if TYPE_CHECKING:
    from app.explain.explainer import Explanation
    from app.loaded import LoadedModel

BAR = 20
"""Characters of the longest bar."""
TIMEOUT_S = 600.0


@with_loading_options
def explain(
    settings: Settings,
    model: Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")],
    file_or_text: FileOrText,
    version: Annotated[int | None, typer.Option(help="Version [default: the default version of the model].")] = None,
    method: Annotated[str, typer.Option(help="occlusion, shapley or gradients.")] = "occlusion",
    label: Annotated[
        str | None, typer.Option("--class", help="Label or index of the class to explain [default: the best one].")
    ] = None,
    samples: Annotated[int, typer.Option(help="Orders that shapley samples, an even number.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the random numbers of shapley.")] = 0,
    grid: Annotated[int | None, typer.Option(help="Regions along the longer side of an image [default: 8].")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write a heat map over the image, a PNG file.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Number of regions or columns to show.")] = 10,
) -> None:
    """Show which parts of an input speak for the answer of a model."""
    configure_logging(level="error", form="text")
    given = {"method": method, "class": label, "samples": samples, "seed": seed, "grid": grid}
    try:
        found, loaded = asyncio.run(_explain(settings, model, version, file_or_text, given))
    except ServingError as error:
        fail(error.message)
    for each in found:
        _show(each, loaded, most)
    if out is not None:
        _write(found, model, out)


async def _explain(
    settings: Settings, name: str, version: int | None, file_or_text: str, given: dict[str, Any]
) -> "tuple[list[Explanation], LoadedModel]":
    import time

    from app.batching.work import RequestOptions
    from app.edge.rest.explain import asked_of, words_of
    from app.explain.explainer import Explainer

    asked = asked_of(given)
    async with opened(settings, name, version) as model:
        encoded, tensors = inputs_of(model, file_or_text)
        explainer = Explainer(batch_s=float("inf"), clock=time.perf_counter)
        options = RequestOptions(timeout_s=TIMEOUT_S)
        words = words_of(encoded, model)
        began = time.perf_counter()
        return await explainer.explain(model, tensors, asked, began=began, options=options, words=words), model


def _show(found: "Explanation", model: "LoadedModel", most: int) -> None:
    described = found.parts.described(found.attribution.scores, found.attribution.errors)
    answer = model.classes[found.target] if model.classes else "the number"
    say = Console(soft_wrap=True).print
    say(Text(f"{answer}: {found.value:.4f}, and {found.baseline:.4f} with everything hidden"))
    say(Text(f"what is hidden is replaced by {found.parts.replaced_by}"))
    table = Table("part", "score", "for or against")
    largest = max((abs(part["score"]) for part in _parts(described)), default=0.0)
    for name, score in _named(described, most):
        length = round(BAR * abs(score) / largest) if largest else 0
        table.add_row(Text(name), f"{score:+.4f}", Text("█" * length, style="dark_orange" if score > 0 else "blue"))
    print_table(table)
    if found.flip is not None:
        names = [name for name, _ in _listed(described)]
        hidden = "; ".join(names[place] for place in found.flip.parts)
        say(Text(f"without {hidden} the answer is {model.classes[found.flip.target]} ({found.flip.value:.4f})"))


def _parts(described: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for key in ("regions", "tokens", "columns") for part in described.get(key, [])]


def _listed(described: dict[str, Any]) -> list[tuple[str, float]]:
    """The name and the score of each part, in their order."""
    return [(_name(part), part["score"]) for part in _parts(described)]


def _name(part: dict[str, Any]) -> str:
    if "text" in part:
        return str(part["text"])
    if "name" in part:
        return f"{part['name']} = {part['value']}"
    top, left = part["top"], part["left"]
    return f"rows {top}-{top + part['height'] - 1}, columns {left}-{left + part['width'] - 1}"


def _named(described: dict[str, Any], most: int) -> list[tuple[str, float]]:
    """What is shown: the tokens of a text in their order, or else the parts with the largest scores."""
    listed = _listed(described)
    return listed if "tokens" in described else sorted(listed, key=lambda each: -abs(each[1]))[:most]


def _write(found: "list[Explanation]", name: str, out: Path) -> None:
    from app.explain.heat_map import heat_map

    picture = heat_map(found[0]) if len(found) == 1 else None
    if picture is None:
        fail(f"--out: a heat map shows one image, and model {name!r} was asked about something else")
    try:
        out.write_bytes(picture)
    except OSError as error:
        fail(f"--out: {error}")
    Console(soft_wrap=True).print(Text(f"heat map in {out}"))
