"""``verify``: gives a version of another tool golden samples."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from app.commands.shared import fail, open_repository, with_loading_options
from app.errors import ServingError
from app.settings import Settings
from app.telemetry.logging import configure_logging


@with_loading_options
def verify(
    settings: Settings,
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    samples: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Inputs by name, and the answers to expect [default: the samples it has, those of model_warmup, or "
            "generated inputs]. Without answers, those of today are recorded.",
        ),
    ] = None,
    version: Annotated[int | None, typer.Option(min=0, help="Version [default: the default version].")] = None,
    tolerance: Annotated[
        float, typer.Option(help="Largest absolute difference of an answer, for answers up to 1; larger in proportion.")
    ] = 1e-4,
) -> None:
    """Give a version of another tool golden samples.

    They are written into ATELIER_STATE_DIR, and replayed whenever these files are loaded.
    """
    from app.lifecycle.loading.given_samples import GivenSamples
    from app.lifecycle.loading.verify import verify as run
    from app.repository.last_valid_file import policy_in_effect
    from app.repository.missing import no_version
    from app.repository.serving_file import default_by_files
    from app.repository.verified_samples import VerifiedSamples
    from app.telemetry.metrics import Metrics
    from app.wiring.assembly import build_loader

    configure_logging(level="error", form="text")
    repository = open_repository(settings)
    try:
        found = repository.versions(model)
        if version is None:
            place = repository.places.of(model)
            default = default_by_files(policy_in_effect(place.directory, place.stated), found)
            version = found[0] if default is None else default
        if version not in found:
            raise no_version(model, version, found)
        loader = build_loader(settings, Metrics(), repository.places)
        store = VerifiedSamples(settings.state_dir)
        given = None if samples is None else GivenSamples.read(samples)
        done = run(loader, store, model, version, given, tolerance=tolerance)
    except ServingError as error:
        fail(error.message)
    except OSError as error:
        fail(f"{error.filename or settings.state_dir}: {error.strerror or error}")
    if done.recorded:
        what = f"its answers to {done.rows} inputs are recorded: later loads must give the same"
    else:
        what = f"{done.rows} samples agree, largest difference {done.difference:.2g}"
    Console(soft_wrap=True).print(Text(f"{model} version {version} is verified: {what}"))
    Console(soft_wrap=True).print(Text(f"samples: {done.path}; a running service reads it when it loads {model} again"))
