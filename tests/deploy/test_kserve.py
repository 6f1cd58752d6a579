"""deploy/kserve: the types of KServe, the image, and a real service started with the runtime's arguments."""

import re
import shutil

import yaml

from app import __version__
from app.settings import Settings
from app.wiring.server import OVERRUN_S
from tests.deploy.kubernetes import mistakes, not_restricted, requires_kubectl
from tests.support.service import ROOT, Service

RUNTIME, INFERENCE = (
    yaml.safe_load((ROOT / f"deploy/kserve/{name}.yaml").read_text())
    for name in ("serving-runtime", "inference-service")
)
[CONTAINER] = RUNTIME["spec"]["containers"]
PREDICTOR = INFERENCE["spec"]["predictor"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IN_IMAGE = dict(re.findall(r"(ATELIER_\w+)=(\S+)", DOCKERFILE))
MODELS = "/mnt/models"


def pod():
    """What KServe makes of both, as far as it matters here; the init container that downloads is its own."""
    own = {name: value for name, value in PREDICTOR.items() if name not in {"model", "minReplicas"}}
    return {**own, "containers": RUNTIME["spec"]["containers"], "volumes": RUNTIME["spec"]["volumes"]}


@requires_kubectl
def test_the_types_of_kserve_and_of_kubernetes_find_no_mistake():
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": pod()}
    assert mistakes([RUNTIME, INFERENCE, whole], "1.37.0") == []


@requires_kubectl
def test_a_misspelt_field_and_a_text_for_a_number_are_found():
    changes = (
        (RUNTIME, "multiModel:", "multimodel:"),
        (RUNTIME, "autoSelect:", "autoselect:"),
        (INFERENCE, "storageUri:", "storageUrl:"),
        (INFERENCE, "minReplicas: 2", "minReplicas: two"),
    )
    broken = []
    for manifest, old, new in changes:
        text = yaml.safe_dump(manifest)
        assert old in text
        broken.append(yaml.safe_load(text.replace(old, new)))
    found = mistakes(broken, "1.37.0")
    assert len(found) == len(changes)
    assert all(new.partition(":")[0] in line for line, (_, _, new) in zip(found, changes, strict=True))


def test_the_pod_meets_the_restricted_profile_and_may_finish_before_it_is_killed():
    assert list(not_restricted(pod())) == []
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"]
    assert f"USER {CONTAINER['securityContext']['runAsUser']}:" in DOCKERFILE
    # Variables that Kubernetes makes of Services would be unknown settings.
    assert PREDICTOR["enableServiceLinks"] is False
    assert PREDICTOR["automountServiceAccountToken"] is False
    shutdown_s = Settings.model_fields["shutdown_timeout_s"].default
    drain_s = float(IN_IMAGE["ATELIER_DRAIN_DELAY_S"])
    assert PREDICTOR["terminationGracePeriodSeconds"] > drain_s + shutdown_s + OVERRUN_S


def test_the_inference_service_uses_the_runtime_with_a_format_a_protocol_and_an_image_that_exist():
    formats = {each["name"] for each in RUNTIME["spec"]["supportedModelFormats"]}
    assert formats == {"atelier", "onnx", "tensorflow"}
    assert PREDICTOR["model"]["runtime"] == RUNTIME["metadata"]["name"]
    assert PREDICTOR["model"]["modelFormat"]["name"] in formats
    assert PREDICTOR["model"]["protocolVersion"] in RUNTIME["spec"]["protocolVersions"]
    assert CONTAINER["name"] == "kserve-container"
    assert CONTAINER["image"] == f"atelier:{__version__}-cpu"
    assert re.search(r"(?m)^FROM \S+ AS cpu$", DOCKERFILE)
    assert (ROOT / "models" / INFERENCE["metadata"]["name"]).is_dir()


def test_a_service_with_the_arguments_of_the_runtime_serves_what_kserve_mounts(tiny_models, tmp_path):
    """KServe puts the versions of a model into /mnt/models, and the name of the InferenceService into the arguments."""
    shutil.copytree(tiny_models / "words", tmp_path / "models")
    command, *arguments = (
        each.replace("{{.Name}}", "words").replace(MODELS, str(tmp_path / "models")) for each in CONTAINER["args"]
    )
    assert command == "serve"
    assert any(MODELS in each for each in CONTAINER["args"])
    [port] = CONTAINER["ports"]
    assert f"--port={port['containerPort']}" in arguments
    assert RUNTIME["spec"]["annotations"]["prometheus.kserve.io/port"] == str(port["containerPort"])
    arguments = [each for each in arguments if not each.startswith("--port=")]
    service = Service(None, *arguments, environment={**IN_IMAGE, "ATELIER_HOST": "127.0.0.1"})
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert CONTAINER[probe]["httpGet"]["port"] == port["containerPort"]
        assert service.client.get(CONTAINER[probe]["httpGet"]["path"]).status_code == 200
    texts = ["a good film"]
    assert len(service.client.post("/v1/models/words:predict", json={"instances": texts}).json()["predictions"]) == 1
    [tensor] = service.client.get("/v2/models/words").json()["inputs"]
    body = {"inputs": [{"name": tensor["name"], "datatype": "BYTES", "shape": [1], "data": texts}]}
    assert service.client.post("/v2/models/words/infer", json=body).json()["model_name"] == "words"
    assert service.client.get(RUNTIME["spec"]["annotations"]["prometheus.kserve.io/path"]).status_code == 200
    assert service.client.post("/v2/repository/models/words/unload").status_code == 403
    assert service.stop() == 0
