"""``serve``: the service itself."""

import logging
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from app.commands.shared import ModelsDir, fail, read_settings
from app.edge.entry.tls import Tls
from app.errors import CannotListen, KeysUnreadable
from app.settings import Settings
from app.telemetry.logging import configure_logging


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one [default: 8000].")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port for gRPC on the same address; 0 picks a free one [default: no gRPC].")
    ] = None,
    models_dir: ModelsDir = None,
    backend: Annotated[
        str | None,
        typer.Option(help="onnx or savedmodel, unless serving.json says otherwise [default: onnx]."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda or cuda:N, unless serving.json says otherwise [default: auto]."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Worker processes that share the port and the cores [default: 1].")
    ] = None,
    api_keys_file: Annotated[
        Path | None,
        typer.Option(help="File of API keys' hashes, see keys new; inference then needs one [default: no keys]."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM) for HTTP and gRPC [default: no TLS].")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key [default: in the same file].")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Who signs clients' certificates, which then need one [default: they do not].")
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(
            help="Who may load, unload, promote: off, key, loopback or auto [default: auto: the key, if set]."
        ),
    ] = None,
    admin_bind: Annotated[
        str | None,
        typer.Option(help="ADDRESS:PORT or unix:/PATH where alone admin routes are answered [default: no such place]."),
    ] = None,
    cors_origins: Annotated[
        str | None, typer.Option(help="Origins whose pages may ask for inference, or * for all [default: no others].")
    ] = None,
    access_log: Annotated[
        str | None, typer.Option(help="off, errors, all, or a share such as 0.01 [default: off].")
    ] = None,
    watch: Annotated[
        str | None, typer.Option(help="How changes in models_dir are noticed: auto, poll or off [default: auto].")
    ] = None,
    private_dir: Annotated[
        Path | None,
        typer.Option(help="Place of private copies of large model files while they load [default: the system's]."),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error [default: info].")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json [default: text].")] = None,
    drain_delay_s: Annotated[
        float | None, typer.Option(help="Seconds between not ready and no longer listening [default: 0].")
    ] = None,
    shutdown_timeout_s: Annotated[
        float | None, typer.Option(help="Seconds for work in progress to finish at shutdown [default: 30].")
    ] = None,
) -> None:
    """Load every model and answer requests until SIGTERM or Ctrl-C.

    Each flag can also be given as an environment variable, e.g. ATELIER_PORT=8080.
    """
    flags = dict(locals())
    settings = read_settings(**flags)
    if not settings.models_dir.is_dir():
        fail(f"the models directory is {str(settings.models_dir)!r}, and there is no such directory")
    if settings.private_dir is not None and not settings.private_dir.is_dir():
        fail(f"--private-dir is {str(settings.private_dir)!r}, and there is no such directory")
    if settings.port and settings.port == settings.grpc_port:
        fail(f"--port and --grpc-port are both {settings.port}; choose another one for one of them")
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
    except SystemExit:  # uvicorn's way to say that the address is taken; its log line says why
        if app.startup_error is not None:
            raise typer.Exit(2) from None
        fail(_cannot_listen(settings))


def _serve_with_workers(settings: Settings) -> NoReturn:
    from app.workers.supervisor import supervise

    try:
        code = supervise(settings)
    except CannotListen as error:
        fail(error.message)
    except OSError as error:
        logging.getLogger("atelier.supervisor").error("%s", error)
        fail(_cannot_listen(settings))
    raise typer.Exit(code)


def _check_tls(tls: Tls) -> None:
    try:
        tls.context()
    except OSError as error:
        fail(tls.fault or f"TLS is not possible: {error}")


def _check_keys(path: Path) -> None:
    from app.control.api_keys import read_keys

    try:
        read_keys(path)
    except KeysUnreadable as error:
        fail(f"{error.message}; python -m app keys new makes one")


def _cannot_listen(settings: Settings) -> str:
    return f"cannot listen on {settings.host}:{settings.port}; choose another port with --port (make serve PORT=9000)"
