"""``canary``: try a version with a share of the requests, in place of editing serving.json."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from app.commands.shared import fail, open_repository, print_facts, with_model_options
from app.errors import ServingError
from app.settings import Settings

canary = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
Model = Annotated[str, typer.Argument(help="Name of the model, as `models` lists it.")]


@canary.callback()
def _canary() -> None:
    """Try a version with a share of the requests."""


@canary.command()
@with_model_options
def start(
    settings: Settings,
    model: Model,
    version: Annotated[int, typer.Argument(help="Version to try.")],
    percent: Annotated[
        float, typer.Option(min=0, max=100, help="Share of the requests without a version that it answers.")
    ] = 10.0,
    shadow: Annotated[
        float, typer.Option(min=0, max=100, help="Share of the others of which it gets a copy, to be compared.")
    ] = 0.0,
    sticky_header: Annotated[
        str | None, typer.Option(help="Requests with the same value in this header go to the same version.")
    ] = None,
    max_error_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="It is halted above this share of failures.")
    ] = None,
    max_disagreement: Annotated[
        float | None, typer.Option(min=0, max=1, help="It is halted above this share of other answers.")
    ] = None,
) -> None:
    """Give a version the label "canary" and a share of the requests.

    A running service follows within seconds; GET /v2/models/NAME/shadow compares the two versions.
    """
    limits = {"max_error_rate": max_error_rate, "max_disagreement": max_disagreement}
    rollout: dict[str, dict[str, Any]] = {
        "canary": {"percent": percent} | ({} if sticky_header is None else {"sticky_header": sticky_header}),
        "shadow": {"percent": shadow},
        "rollback": {key: value for key, value in limits.items() if value is not None},
    }
    repository = open_repository(settings)
    try:
        stable = repository.start_canary(model, version, rollout, versions=repository.versions(model))
    except ServingError as error:
        fail(error.message)
    copies = f", and gets a copy of {shadow:g} % of the others" if shadow else ""
    _say(
        f"{model}: version {version} answers {percent:g} % of the requests without a version{copies}; version {stable} "
        "answers the rest. A running service follows within seconds."
    )


@canary.command()
@with_model_options
def status(settings: Settings, model: Model) -> None:
    """Show the canary of a model, and whether it was halted."""
    from app.repository.last_valid_file import policy_in_effect
    from app.repository.policy import CANARY
    from app.repository.serving_file import default_by_files

    repository = open_repository(settings)
    try:
        versions = repository.versions(model)
        place = repository.places.of(model)
        policy = policy_in_effect(place.directory, place.stated, on_mistake=lambda error: fail(error.message))
    except ServingError as error:
        fail(error.message)
    version, rollout = policy.version_labels.get(CANARY), policy.rollout
    if version is None:
        fail(f"model {model!r} has no canary")
    facts = {"stable": f"version {default_by_files(policy, versions)}"}
    if rollout is not None:
        if rollout.canary is not None:
            facts["requests"] = f"{rollout.canary.percent:g} %"
        if rollout.shadow is not None:
            facts["copies"] = f"{rollout.shadow.percent:g} %"
        facts["halted"] = rollout.halted or "no"
    print_facts(f"{model}, version {version} is the canary", {key: Text(value) for key, value in facts.items()})


@canary.command()
@with_model_options
def stop(settings: Settings, model: Model) -> None:
    """Remove the label "canary", and its share of the requests."""
    try:
        version, stable = open_repository(settings).stop_canary(model)
    except ServingError as error:
        fail(error.message)
    _say(f"{model}: version {version} is no canary any more. A running service follows within seconds.")
    if stable is not None:
        _say(f"Version {stable} has the label stable now, so that it stays the default; `promote` moves the label.")


def _say(text: str) -> None:
    Console(soft_wrap=True).print(Text(text))
