"""Process-wide settings: environment variables ATELIER_*, overridden by command-line flags; read once at start.

Per-model settings are in models/<name>/serving.json, per-version facts in model.json; no setting is in two places.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.contract.device import AUTO, DeviceName
from app.control.administration import AdminMode
from app.edge.entry.bind import Bind
from app.edge.entry.tls import Tls
from app.mirror.location import Location
from app.repository.policy import BackendName
from app.setting_types import (
    Address,
    Endpoint,
    LoggedRequests,
    ModelsDir,
    Names,
    Origins,
    OtherServers,
    PrefixPath,
    default_mirror_dir,
    default_state_dir,
)

PREFIX = "ATELIER_"
# Read by the training package, which uses the same prefix.
TRAINING_VARIABLES = {"ATELIER_DATA_DIR", "ATELIER_RECIPES_DIR"}


class Settings(BaseSettings):
    """Settings of one service process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    models_dir: ModelsDir = Field(
        default=Path("models"),
        description="Directory that contains <model>/<version>/, or the URL of one (s3://, gs://, hf://, https://), of "
        "which a copy is kept.",
    )
    mirror_dir: Path | None = Field(
        default_factory=default_mirror_dir,
        description="Directory of the copies of models at a URL; default: $XDG_CACHE_HOME/atelier/mirror, or "
        "~/.cache/atelier/mirror.",
    )
    mirror_every_s: float = Field(default=60, ge=1, description="Seconds between two looks at the URL of models.")
    model_config_file: Path | None = Field(
        default=None,
        description="TensorFlow Serving's models.config: names and paths of models. Read again when it changes. The "
        "models directory is then served only if it is set.",
    )
    model_name: str | None = Field(default=None, description="Name of the single model at model_base_path.")
    model_base_path: Path | None = Field(
        default=None, description="Directory with the versions of the model of model_name."
    )
    backend: BackendName = Field(
        default="onnx",
        description="Default runtime, for models without a backend in serving.json: ONNX Runtime or TensorFlow.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    grpc_port: int | None = Field(
        default=None, ge=0, le=65535, description="Port to listen on for gRPC; 0 picks a free one, none is off."
    )
    workers: int = Field(
        default=1, ge=1, le=1024, description="Worker processes, which share the port and the CPU threads."
    )
    admin_key: str | None = Field(
        default=None,
        repr=False,
        description="Key that load, unload and other admin routes require; without one they answer only on loopback.",
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="File of hashed API keys (python -m app keys new); inference then requires one. Read again when it "
        "changes.",
    )
    metrics_access: Literal["open", "key"] = Field(
        default="open", description="Whether /metrics needs an API key with the scope metrics."
    )
    metrics_histograms: Literal["requests", "all"] = Field(
        default="requests",
        description="Histograms in /metrics: of the time of requests only, or also of their stages and of batches, "
        "which are 130 more series for each model.",
    )
    metrics_compat: OtherServers = Field(
        default=(),
        description="Other servers under whose names /metrics has its counts too, separated by commas: triton, tfs.",
    )
    drift: bool = Field(
        default=True,
        description="Whether the inputs and answers of a version are compared with baseline.json, its training data.",
    )
    drift_window_s: float = Field(default=3600, gt=0, description="Seconds of served rows that are compared.")
    drift_rows_per_s: float = Field(
        default=10, gt=0, description="Most rows of each version that are sampled for that each second."
    )
    explain_batch_ms: float = Field(
        default=2,
        gt=0,
        description="Most milliseconds of a batch of an explanation, by which a prediction may be delayed. A single "
        "instance may take longer.",
    )
    tracing_endpoint: Endpoint | None = Field(
        default=None,
        description="URL of an OpenTelemetry collector that gets spans of requests (OTLP over HTTP), such as "
        "http://localhost:4318/v1/traces. Requires the extra tracing.",
    )
    tracing_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of the requests that begin a trace. One whose client records a trace is always traced.",
    )
    tls_cert: Path | None = Field(
        default=None, description="Certificate (PEM) of the service; HTTP and gRPC then accept only TLS."
    )
    tls_key: Path | None = Field(default=None, description="Its private key; default: in the certificate's file.")
    tls_key_password: str | None = Field(default=None, repr=False, description="Password of the key; only for HTTP.")
    tls_client_ca: Path | None = Field(
        default=None, description="Certificates (PEM) of client authorities; clients then need a certificate (mTLS)."
    )
    admin: AdminMode = Field(
        default="auto",
        description="Who may call the admin routes: nobody (off), callers with the key (key), or callers on this "
        "machine (loopback); auto: key if there is a key, otherwise loopback.",
    )
    admin_bind: Address | None = Field(
        default=None,
        description="ADDRESS:PORT or unix:/PATH for the admin routes, which are then answered nowhere else.",
    )
    allowed_hosts: Names = Field(
        default=(),
        description="Further names that requests may have as Host, separated by commas; * allows all. On loopback only "
        "its own names are allowed by default; beyond it, all names are allowed unless some are given here.",
    )
    cors_origins: Origins = Field(
        default=(),
        description="Origins whose pages may use inference, separated by commas, as in https://app.example; * allows "
        "all. Admin routes stay closed to all of them.",
    )
    access_log: LoggedRequests = Field(
        default="off", description="Requests that get a line in the log: off, errors, all, or a share such as 0.01."
    )
    body_limit_bytes: int = Field(
        default=16 * 2**20, ge=1, description="Largest request body, before and after inflating."
    )
    bodies_limit_bytes: int = Field(
        default=256 * 2**20, ge=1, description="Most bytes of the bodies of all unanswered requests."
    )
    replies_limit_bytes: int = Field(
        default=256 * 2**20, ge=1, description="Most bytes of unread replies of all clients together."
    )
    max_connections: int = Field(default=4_096, ge=1, description="Most open connections, for HTTP and for gRPC each.")
    head_limit_bytes: int = Field(
        default=32_768, ge=1_024, description="Most bytes of the request line and headers of a request."
    )
    max_headers: int = Field(default=100, ge=1, description="Most headers of a request.")
    head_timeout_s: float = Field(
        default=10, gt=0, description="Seconds for the head of a request, and for the first byte of a connection."
    )
    body_timeout_s: float = Field(
        default=20, gt=0, description="Seconds for a body, plus one for each body_rate_bytes received."
    )
    body_rate_bytes: int = Field(default=16_384, ge=1, description="Lowest rate of a body, in bytes per second.")
    send_timeout_s: float = Field(
        default=30, gt=0, description="Seconds for a client to read part of its reply before it is disconnected."
    )
    keep_alive_s: float = Field(default=5, gt=0, description="Seconds between two requests of a connection.")
    json_fallback_limit_bytes: int = Field(
        default=2**20,
        ge=0,
        description="Largest JSON body that is read again by the slower, more lenient parser (NaN, Infinity).",
    )
    pixel_limit: int = Field(
        default=25_000_000, ge=1, description="Most pixels (width x height) of an image in a body."
    )
    decode_memory_bytes: int = Field(
        default=512 * 2**20, ge=2**20, description="Most bytes of all images that are being decoded."
    )
    device: DeviceName = Field(
        default=AUTO, description="Device of models without a device in serving.json: auto, cpu, cuda or cuda:N."
    )
    watch: Literal["auto", "poll", "off"] = Field(
        default="auto",
        description="How changes below the models directory are detected: by file events, by polling, or not at all.",
    )
    load_models: Literal["at-start", "on-request"] = Field(
        default="at-start", description="When models are loaded: all at the start, or each with its first request."
    )
    parallel_loads: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Versions that load at the same time; with more than one the latency measured at load is too high.",
    )
    model_memory_limit_mb: int | None = Field(
        default=None,
        ge=1,
        description="Most MiB of all loaded versions, in each worker process; beyond it, the models that were least "
        "recently used are unloaded, and their next request loads them. Default: no limit.",
    )
    plugins: Names = Field(
        default=(),
        description="Backends and transforms of installed packages (entry points atelier.backends, atelier.transforms) "
        "that versions may use, separated by commas.",
    )
    require_verified: bool = Field(
        default=False, description="Refuse versions without golden samples, such as those of other tools."
    )
    shared_memory: bool = Field(
        default=True,
        description="Whether clients on this machine may send and receive tensors in shared memory; not with several "
        "workers.",
    )
    root_path: PrefixPath = Field(
        default="",
        description="Path under which a proxy shows the service, such as /atelier; the proxy removes it.",
    )
    playground: bool = Field(
        default=True, description="Whether a browser gets a page at / on which the models can be tried."
    )
    state_dir: Path | None = Field(
        default_factory=default_state_dir,
        description="Directory of the recorded requests, and of the golden samples that `verify` gives to versions of "
        "other tools; default: $XDG_STATE_HOME/atelier, or ~/.local/state/atelier.",
    )
    private_dir: Path | None = Field(
        default=None,
        description="Directory for private copies of model files while a version loads; default: the system's "
        "temporary directory. Graphs up to 64 MiB need no copy.",
    )
    load_timeout_s: float = Field(
        default=300,
        gt=0,
        description="Seconds for a version to load; a slower one is refused, and ready no longer waits for it.",
    )
    drain_delay_s: float = Field(
        default=0, ge=0, description="Seconds between not ready and no longer listening; 5 behind a load balancer."
    )
    shutdown_timeout_s: float = Field(default=30, ge=0, description="Seconds for queued and running work to finish.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe line logged."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="One line per event, as text or as JSON.")

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        if self.admin == "key" and not self.admin_key and self.api_keys_file is None:
            raise ValueError("--admin key requires a key; set ATELIER_ADMIN_KEY or ATELIER_API_KEYS_FILE")
        if self.metrics_access == "key" and self.api_keys_file is None:
            raise ValueError("ATELIER_METRICS_ACCESS=key requires keys; set ATELIER_API_KEYS_FILE")
        if self.tls_cert is None and (self.tls_key or self.tls_client_ca or self.tls_key_password):
            raise ValueError("--tls-key and --tls-client-ca have no effect without --tls-cert; give --tls-cert")
        if self.tls_key_password is not None and self.grpc_port is not None:
            raise ValueError("gRPC cannot read encrypted keys; give --tls-key one that is not encrypted")
        if isinstance(self.models_dir, Location) and self.mirror_dir is None:
            raise ValueError("models at a URL are copied, and there is no home directory; set ATELIER_MIRROR_DIR")
        if (self.model_name is None) != (self.model_base_path is None):
            raise ValueError("--model-name and --model-base-path belong together; give both")
        if self.model_name is not None and self.model_config_file is not None:
            raise ValueError("--model-config-file names all models; give it or --model-name, not both")
        if self.bodies_limit_bytes < self.body_limit_bytes:
            raise ValueError(
                f"ATELIER_BODIES_LIMIT_BYTES is {self.bodies_limit_bytes}, but a single body may have "
                f"{self.body_limit_bytes} (ATELIER_BODY_LIMIT_BYTES); raise the first or lower the second"
            )
        return self

    @property
    def are_named(self) -> bool:
        """Whether models are named one by one, each with its path."""
        return self.model_config_file is not None or self.model_name is not None

    @property
    def only_models_dir(self) -> Path | None:
        """The models directory; None if models are named one by one, and no directory is set."""
        if self.are_named and "models_dir" not in self.model_fields_set:
            return None
        if isinstance(self.models_dir, Location):
            return Path(self.mirror_dir or "") / self.models_dir.key
        return self.models_dir

    @property
    def tls(self) -> Tls | None:
        """TLS of both protocols; None without it."""
        if self.tls_cert is None:
            return None
        return Tls(
            cert=self.tls_cert,
            key=self.tls_key or self.tls_cert,
            client_ca=self.tls_client_ca,
            password=self.tls_key_password,
            max_connections=self.max_connections,
        )

    @property
    def scheme(self) -> str:
        """The scheme of its URLs."""
        return "http" if self.tls_cert is None else "https"

    @property
    def admin_address(self) -> Bind:
        """The address of admin calls."""
        return Bind(self.host, self.port) if self.admin_bind is None else Bind.parse(self.admin_bind)


def unknown_variables() -> list[str]:
    """ATELIER_* variables in the environment that no setting uses: misspelt settings."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | TRAINING_VARIABLES
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name.upper() not in known)
