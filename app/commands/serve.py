"""``serve``: the service itself."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from app.commands.shared import (
    ModelBasePath,
    ModelConfigFile,
    ModelName,
    ModelsDir,
    Plugins,
    check_models_dir,
    fail,
    open_repository,
    read_settings,
)
from app.edge.entry.tls import Tls
from app.errors import CannotListen, KeysUnreadable
from app.mirror.location import Location
from app.settings import Settings
from app.telemetry.logging import configure_logging


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one [default: 8000].")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port for gRPC, on the same address; 0 picks a free one [default: no gRPC].")
    ] = None,
    models_dir: ModelsDir = None,
    model_config_file: ModelConfigFile = None,
    model_name: ModelName = None,
    model_base_path: ModelBasePath = None,
    backend: Annotated[
        str | None,
        typer.Option(help="Backend for models whose serving.json sets none: onnx or savedmodel [default: onnx]."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Device for models whose serving.json sets none: auto, cpu, cuda or cuda:N [default: auto]."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Number of worker processes; they share the port and the cores [default: 1].")
    ] = None,
    api_keys_file: Annotated[
        Path | None,
        typer.Option(help="File of hashed API keys (`keys new`); inference then requires a key [default: no keys]."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) for HTTP and gRPC [default: no TLS].")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key of the certificate (PEM) [default: the file in --tls-cert].")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            help="CA certificates (PEM); clients need a certificate signed by one [default: no client certificates]."
        ),
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(
            help="Who may load, unload, promote: off, key, loopback, or auto: key if ATELIER_ADMIN_KEY or API keys are "
            "set, else loopback [default: auto]."
        ),
    ] = None,
    admin_bind: Annotated[
        str | None,
        typer.Option(
            help="ADDRESS:PORT or unix:/PATH for admin routes, which then answer only there [default: the "
            "address of the service]."
        ),
    ] = None,
    cors_origins: Annotated[
        str | None,
        typer.Option(
            help="Origins of web pages that may call inference, separated by commas; * allows all [default: none]."
        ),
    ] = None,
    access_log: Annotated[
        str | None,
        typer.Option(help="Which requests to log: off, errors, all, or a fraction such as 0.01 [default: off]."),
    ] = None,
    metrics_compat: Annotated[
        str | None,
        typer.Option(
            help="Other servers under whose names /metrics has its counts too, separated by commas: triton, tfs "
            "[default: none]."
        ),
    ] = None,
    watch: Annotated[
        str | None,
        typer.Option(help="How to notice changes in the models directory: auto, poll or off [default: auto]."),
    ] = None,
    load_models: Annotated[
        str | None,
        typer.Option(help="When to load models: at-start, or on-request: each with its first one [default: at-start]."),
    ] = None,
    parallel_loads: Annotated[
        int | None, typer.Option(help="Versions to load at the same time [default: 1].", min=1)
    ] = None,
    model_memory_limit_mb: Annotated[
        int | None,
        typer.Option(
            help="Most MiB of all loaded models; beyond it, the least recently used one is unloaded until its next "
            "request [default: no limit].",
            min=1,
        ),
    ] = None,
    plugins: Plugins = None,
    require_verified: Annotated[
        bool | None,
        typer.Option(
            "--require-verified",
            help="Refuse versions without golden samples, such as those of other tools [default: no].",
        ),
    ] = None,
    shared_memory: Annotated[
        bool | None,
        typer.Option(
            "--shared-memory/--no-shared-memory",
            help="Whether clients on this machine may use tensors in shared memory [default: yes].",
        ),
    ] = None,
    playground: Annotated[
        bool | None,
        typer.Option(
            "--playground/--no-playground",
            help="Whether a browser gets a page at / on which the models can be tried [default: yes].",
        ),
    ] = None,
    private_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory for copies of large model files while they load [default: the system's temporary one]."
        ),
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Least severe level to log: debug, info, warning or error [default: info].")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="Format of the log: text or json [default: text].")] = None,
    drain_delay_s: Annotated[
        float | None,
        typer.Option(help="At shutdown, seconds between reporting not ready and closing the port [default: 0]."),
    ] = None,
    shutdown_timeout_s: Annotated[
        float | None, typer.Option(help="At shutdown, seconds for requests in progress to finish [default: 30].")
    ] = None,
) -> None:
    """Load all models and answer requests until Ctrl-C.

    SIGTERM also stops the service; requests in progress finish. Every option is also an environment variable, for
    example ATELIER_PORT=8080.
    """
    flags = dict(locals())
    settings = read_settings(**flags)
    if settings.only_models_dir is not None and not isinstance(settings.models_dir, Location):
        check_models_dir(settings.only_models_dir)
    if settings.private_dir is not None and not settings.private_dir.is_dir():
        fail(f"the directory {str(settings.private_dir)!r} of --private-dir does not exist; create it")
    configure_logging(level="error", form=settings.log_format)  # the service reads it again, and logs its warnings
    open_repository(settings)  # an invalid models.config is reported before anything starts
    if settings.port and settings.port == settings.grpc_port:
        fail(f"--port and --grpc-port are both {settings.port}; choose different ports")
    if settings.tls is not None:
        _check_tls(settings.tls)
    if settings.api_keys_file is not None:
        _check_keys(settings.api_keys_file)
    configure_logging(level=settings.log_level, form=settings.log_format)
    if settings.workers > 1:
        _serve_with_workers(settings)
    from app.main import create_app
    from app.wiring.server import Server, uvicorn_config

    app = create_app(settings)
    server = Server(uvicorn_config(app, settings), settings)
    try:
        server.run()
    except CannotListen as error:
        fail(error.message)
    except SystemExit:  # uvicorn exits so if the application does not start; the log has the reason
        if app.startup_error is not None:
            raise typer.Exit(2) from None
        raise


def _serve_with_workers(settings: Settings) -> NoReturn:
    from app.workers.supervisor import supervise

    try:
        code = supervise(settings)
    except CannotListen as error:
        fail(error.message)
    raise typer.Exit(code)


def _check_tls(tls: Tls) -> None:
    try:
        tls.context()
    except OSError as error:
        fail(tls.fault or f"TLS is not possible: {error}")


def _check_keys(path: Path) -> None:
    from app.control.keys_file import read_keys

    try:
        read_keys(path)
    except KeysUnreadable as error:
        fail(f"{error.message}; create one with: python -m app keys new")
