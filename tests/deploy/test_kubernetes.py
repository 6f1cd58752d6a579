"""deploy/kubernetes, rendered by kustomize, agrees with the image, the settings, the metrics and itself.

Nothing is applied to a cluster.
"""

import re

import pytest
import yaml

from app import __version__
from app.settings import PREFIX, Settings
from app.wiring.server import OVERRUN_S
from tests.deploy.kubernetes import MANIFESTS, not_restricted, of_every_rendering, render, requires_kubectl
from tests.support.service import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
IN_IMAGE = dict(re.findall(r"(ATELIER_\w+)=(\S+)", DOCKERFILE))
TARGETS = set(re.findall(r"(?m)^FROM \S+ AS (\w[\w-]*)$", DOCKERFILE))
KNOWN = {PREFIX + name.upper() for name in Settings.model_fields}


def selects(selector, labels):
    return selector.items() <= labels.items()


@of_every_rendering
def test_pods_meet_the_restricted_profile_as_the_user_of_the_image(rendering):
    [user] = re.findall(r"(?m)^USER (\d+):(\d+)$", DOCKERFILE)
    for pod in rendering.pods:
        assert list(not_restricted(pod)) == []
        assert (str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"])) == user
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
        assert pod["automountServiceAccountToken"] is False
    assert rendering.one("ServiceAccount")["automountServiceAccountToken"] is False
    labels = rendering.one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("securityContext", "runAsNonRoot"), False, "runAsNonRoot"),
        (("securityContext", "runAsUser"), 0, "runAsUser"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccompProfile"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "allowPrivilegeEscalation"),
        (("containers", 0, "securityContext", "capabilities"), {}, "capabilities.drop"),
        (("containers", 0, "securityContext", "privileged"), True, "privileged"),
        (("volumes",), [{"name": "node", "hostPath": {"path": "/"}}], "volume node"),
        (("hostNetwork",), True, "hostNetwork"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod_that_the_restricted_profile_refuses_is_found(path, value, complaint):
    manifest = yaml.safe_load((MANIFESTS / "base/deployment/deployment.yaml").read_text())
    pod = manifest["spec"]["template"]["spec"]
    *way, last = path
    target = pod
    for step in way:
        target = target[step]
    target[last] = value
    assert [each.rpartition(": ")[2] for each in not_restricted(pod)] == [complaint]


@of_every_rendering
def test_every_setting_exists_and_its_directories_are_mounted(rendering):
    given = rendering.settings
    assert given.keys() <= KNOWN
    directories = {value for name, value in given.items() if name.endswith("_DIR") and "://" not in value}
    assert directories
    # The image writes to its home directory only.
    assert "HOME=/tmp" in DOCKERFILE
    for container in rendering.containers:
        assert {each["name"] for each in container.get("env", [])} <= KNOWN
        assert {each["mountPath"] for each in container["volumeMounts"]} == directories | {"/tmp"}


@of_every_rendering
def test_what_a_pod_mounts_is_a_volume_and_what_it_writes_is_its_own(rendering):
    for pod in rendering.pods:
        volumes = {each["name"]: each for each in pod["volumes"]}
        mounts = [mount for each in pod["containers"] for mount in each["volumeMounts"]]
        assert {each["name"] for each in mounts} == volumes.keys()
        written = [volumes[each["name"]] for each in mounts if not each.get("readOnly")]
        assert written
        assert all("emptyDir" in volume for volume in written)


@of_every_rendering
def test_models_are_where_the_image_has_them_and_come_from_one_place(rendering):
    [directory] = re.findall(r"(?m)^WORKDIR (\S+)\nCOPY models models$", DOCKERFILE)
    place = rendering.settings["ATELIER_MODELS_DIR"]
    assert place.startswith("s3://") if "ATELIER_MIRROR_DIR" in rendering.settings else place == f"{directory}/models"
    volumes = [volume for pod in rendering.pods for volume in pod["volumes"]]
    claims = {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each}
    assert {each["metadata"]["name"] for each in rendering.of("PersistentVolumeClaim")} == claims


@of_every_rendering
def test_images_are_targets_of_the_dockerfile_with_the_version(rendering):
    target = "gpu" if rendering.overlay == "gpu" else "cpu"
    assert target in TARGETS
    for container in rendering.containers:
        assert container["image"] == f"atelier:{__version__}-{target}"
        assert ("nvidia.com/gpu" in container["resources"]["limits"]) == (target == "gpu")


@of_every_rendering
def test_ports_are_those_of_the_service_in_all_objects(rendering):
    grpc = int(rendering.settings["ATELIER_GRPC_PORT"])
    expected = {"http": Settings.model_fields["port"].default, "grpc": grpc}
    ports = rendering.one("Service")["spec"]["ports"]
    assert {each["name"]: each["port"] for each in ports} == expected
    assert all(each["targetPort"] == each["name"] for each in ports)
    for container in rendering.containers:
        assert {each["name"]: each["containerPort"] for each in container["ports"]} == expected
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == "http"
    rules = rendering.one("NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == set(expected)
    for monitor in rendering.of("ServiceMonitor"):
        assert [(each["port"], each["path"]) for each in monitor["spec"]["endpoints"]] == [("http", "/metrics")]


@of_every_rendering
def test_a_pod_may_finish_before_it_is_killed(rendering):
    drain_s, shutdown_s = IN_IMAGE["ATELIER_DRAIN_DELAY_S"], rendering.settings["ATELIER_SHUTDOWN_TIMEOUT_S"]
    for pod in rendering.pods:
        assert pod["terminationGracePeriodSeconds"] > float(drain_s) + float(shutdown_s) + OVERRUN_S


@of_every_rendering
def test_selectors_find_the_pods_that_they_should(rendering):
    deployments = rendering.of("Deployment")
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in deployments]
    assert len(labels) == (2 if rendering.overlay == "canary" else 1)
    for deployment, own in zip(deployments, labels, strict=True):
        assert [each for each in labels if selects(deployment["spec"]["selector"]["matchLabels"], each)] == [own]
    service = rendering.one("Service")
    for selector in (
        service["spec"]["selector"],
        rendering.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        rendering.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert all(selects(selector, each) for each in labels)
    for monitor in rendering.of("ServiceMonitor"):
        assert selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        # The alerts expect this job.
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "atelier"


@of_every_rendering
def test_objects_are_in_one_namespace_and_refer_to_objects_that_exist(rendering):
    others = [each for each in rendering.objects if each["kind"] != "Namespace"]
    assert {each["metadata"].get("namespace") for each in others} == {rendering.one("Namespace")["metadata"]["name"]}
    names = {(each["kind"], each["metadata"]["name"]) for each in rendering.objects}
    assert len(names) == len(rendering.objects)
    for pod in rendering.pods:
        assert ("ServiceAccount", pod["serviceAccountName"]) in names
        [container] = pod["containers"]
        maps = [each["configMapRef"]["name"] for each in container["envFrom"] if "configMapRef" in each]
        assert [("ConfigMap", each) in names for each in maps] == [True]
        # Variables that Kubernetes makes of Services would be unknown settings.
        assert pod["enableServiceLinks"] is False


@of_every_rendering
def test_one_autoscaler_sets_the_number_of_stable_pods(rendering):
    [scaler] = [*rendering.of("HorizontalPodAutoscaler"), *rendering.of("ScaledObject")]
    assert scaler["kind"] == ("ScaledObject" if "keda" in rendering.components else "HorizontalPodAutoscaler")
    stated = {each["metadata"]["name"]: each["spec"].get("replicas") for each in rendering.of("Deployment")}
    assert stated.pop(scaler["spec"]["scaleTargetRef"]["name"]) is None
    assert list(stated.values()) == ([1] if rendering.overlay == "canary" else [])


@requires_kubectl
def test_both_autoscalers_have_the_same_bounds_and_the_same_target():
    ours, keda = render("cpu").one("HorizontalPodAutoscaler")["spec"], render("cpu", "keda").one("ScaledObject")["spec"]
    [metric], [trigger] = ours["metrics"], keda["triggers"]
    assert (ours["minReplicas"], ours["maxReplicas"]) == (keda["minReplicaCount"], keda["maxReplicaCount"])
    target = {"type": trigger["metricType"], "averageValue": trigger["metadata"]["threshold"]}
    assert metric["pods"]["target"] == target
    assert keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == ours["behavior"]


@requires_kubectl
def test_changed_settings_replace_the_pods():
    """The name of the ConfigMap has a hash of its content, so the template of the pods changes with it."""
    before, after = render("cpu"), render("cpu", "models-from-object-storage")
    assert before.one("ConfigMap")["metadata"]["name"] != after.one("ConfigMap")["metadata"]["name"]
    unchanged = before.settings.items() - {("ATELIER_MODELS_DIR", "/atelier/models")}
    assert unchanged
    assert unchanged <= after.settings.items()
