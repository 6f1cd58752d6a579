"""The modes of perf_analyzer: its options, and what a service must make of them."""

from dataclasses import dataclass

HTTP, GRPC, STREAM, TFSERVING = "HTTP", "gRPC", "stream", "tfserving"
# How the metrics of the service name each of them.
PROTOCOLS = {HTTP: "v2:infer", GRPC: "grpc:infer", STREAM: "grpc:stream_infer", TFSERVING: "grpc:predict"}
IMAGES, TEXTS = "fashion-mnist-mlp", "imdb-sentiment-lstm"


@dataclass(frozen=True)
class Mode:
    """Options that are run together.

    Attributes:
        name: for the report.
        over: the protocols, each a run of its own.
        options: as for a shell; ``FILES`` and ``PLACE`` are the directories of the input files and of reports,
            ``ADDRESS`` is that of HTTP, ``KEY`` an API key.
        model: of the service.
        loads: how many loads the report has, each with a throughput; 0: the mode writes none.
        refusal: what perf_analyzer says before it ends with an error; "": it must succeed.
        encrypted: against a service that requires TLS, certificates of clients and API keys.
    """

    name: str
    over: tuple[str, ...]
    options: str = ""
    model: str = "rule"
    loads: int = 1
    refusal: str = ""
    encrypted: bool = False


V2 = (HTTP, GRPC, STREAM)
ALL = (*V2, TFSERVING)
HTTPS = (
    "--ssl-https-ca-certificates-file FILES/ca.crt --ssl-https-client-certificate-file FILES/client.crt "
    "--ssl-https-private-key-file FILES/client.key"
)
GRPCS = (
    "--ssl-grpc-use-ssl true --ssl-grpc-root-certifications-file FILES/ca.crt "
    "--ssl-grpc-certificate-chain-file FILES/client.crt --ssl-grpc-private-key-file FILES/client.key"
)
RISING = "-a --periodic-concurrency-range 1:4:1 --request-period 1 --profile-export-file PLACE/profile.json"

MODES = (
    # Load.
    Mode("one at a time", V2, model=IMAGES),
    Mode("one at a time", (TFSERVING,)),
    Mode("several at a time, asynchronous", V2, "-a --concurrency-range 1:4:3", IMAGES, loads=2),
    Mode("several at a time, synchronous", (HTTP, GRPC, TFSERVING), "--concurrency-range 1:3:2", loads=2),
    Mode("fixed rates", ALL, "--request-rate-range 50:100:50", loads=2),
    Mode("random intervals", (HTTP, GRPC), "--request-rate-range 50 --request-distribution poisson"),
    Mode("intervals of a file", ALL, "--request-intervals FILES/intervals"),
    Mode("rising concurrency", (STREAM,), RISING, loads=0),
    Mode("binary search", (HTTP, GRPC), "--concurrency-range 1:4 --binary-search -l 1000", loads=2),
    # Measurement.
    Mode("stable by percentile", (HTTP, GRPC), "--percentile 95"),
    Mode("windows of requests", (HTTP,), "--measurement-mode count_windows --measurement-request-count 20"),
    Mode("a number of requests", (GRPC,), "--request-count 20"),
    Mode(
        "metrics", (HTTP, GRPC), "--collect-metrics --metrics-url ADDRESS/metrics --metrics-interval 50 --verbose-csv"
    ),
    # Inputs.
    Mode("batches", ALL, "-b 8"),
    Mode("zeros", (HTTP, GRPC, TFSERVING), "--input-data zero"),
    Mode("a directory", (HTTP, GRPC, TFSERVING), "--input-data FILES/raw"),
    Mode("JSON, outputs compared", V2, "--input-data FILES/numbers.json"),
    Mode("a wrong output", V2, "--input-data FILES/wrong.json", refusal="Output doesn't match expected output"),
    Mode("strings", (HTTP, GRPC, TFSERVING), "--string-data yes -b 4", "strings"),
    Mode("random strings", (HTTP, GRPC, TFSERVING), "--string-length 16", "strings"),
    Mode("strings, outputs compared", V2, "--input-data FILES/texts.json", "strings"),
    Mode("token ids of a text model", V2, "--input-data FILES/tokens.json", TEXTS),
    Mode("INT64 of any length", V2, "--shape ids:6 --input-data zero", "ids"),
    Mode("sizes that vary", ALL, "--shape x:3,16,24 -b 2", "pictures"),
    Mode("shared memory", V2, "--shared-memory system", IMAGES),
    Mode("shared memory of strings", V2, "--shared-memory system --string-data yes -b 4", "strings"),
    Mode("tensors in JSON", (HTTP,), "--input-tensor-format json --output-tensor-format json", IMAGES),
    # Requests.
    Mode("a header", (HTTP, GRPC, TFSERVING), "-H x-request-id:mine"),
    Mode("a parameter", (GRPC,), "--request-parameter timeout:1000000:int"),
    Mode("gzip", (GRPC, STREAM, TFSERVING), "--grpc-compression-algorithm gzip"),
    Mode("deflate", (GRPC,), "--grpc-compression-algorithm deflate"),
    Mode("a version", V2, "-x 1"),
    Mode("a version label", (TFSERVING,), "-x steady"),
    Mode("a signature", (TFSERVING,), "--model-signature-name serving_default"),
    Mode("TLS and an API key", (HTTP,), f"{HTTPS} -H x-api-key:KEY", encrypted=True),
    Mode("TLS and an API key", (GRPC,), f"{GRPCS} -H x-api-key:KEY", encrypted=True),
    # Refused, with the reason.
    Mode("traces", (HTTP, GRPC), "--trace-level TIMESTAMPS", refusal="trace settings are not supported"),
    Mode("no API key", (HTTP,), HTTPS, refusal="an API key is required", encrypted=True),
    Mode("no API key", (GRPC,), GRPCS, refusal="an API key is required", encrypted=True),
    Mode("an unknown model", (HTTP, GRPC), model="absent", refusal="Request for unknown model: 'absent' is not found"),
    Mode("an unknown version", (HTTP, GRPC), "-x 7", refusal="Could not find version 7 of model rule"),
    Mode("a version number", (TFSERVING,), "-x 1", refusal="Unrecognized servable version label: 1"),
    Mode("INT64", (TFSERVING,), "--shape ids:6", "ids", refusal="has bool_val; send int64_val"),
)
