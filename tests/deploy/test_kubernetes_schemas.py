"""Kubernetes, KEDA and the Prometheus operator would accept what kustomize renders, also from the guide."""

import copy
import os
import re
import subprocess
from itertools import chain

import pytest
import yaml

from app import __version__
from deploy.kubernetes.rules import FILE, RULES, prometheus_rule
from tests.deploy.kubernetes import (
    COMPONENTS,
    GUIDE,
    IMAGE_VOLUME,
    MANIFESTS,
    OVERLAYS,
    TOOLS,
    kustomize,
    mistakes,
    not_restricted,
    render,
    renderings,
    requires_kubectl,
)
from tests.support.readme import code, commands
from tests.support.service import ROOT

OLDEST, IMAGE_VOLUMES, NEWEST = "1.27.0", "1.33.0", "1.37.0"


@requires_kubectl
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_schemas_of_kubernetes_and_of_the_operators_find_no_mistake(version):
    accepted = [each for each in renderings() if version == NEWEST or IMAGE_VOLUME not in each.components]
    objects = [each for rendering in accepted for each in rendering.objects]
    kinds = {each["kind"] for each in objects}
    assert {"Deployment", "HorizontalPodAutoscaler", "ScaledObject", "ServiceMonitor", "PrometheusRule"} <= kinds
    assert mistakes(objects, version) == []


@requires_kubectl
def test_a_volume_that_is_an_image_requires_the_version_that_its_component_names():
    rendering = render("cpu", IMAGE_VOLUME)
    assert mistakes(rendering.objects, IMAGE_VOLUMES) == []
    [found] = mistakes(rendering.objects, OLDEST)
    assert "'image' was unexpected" in found
    text = (MANIFESTS / "components" / IMAGE_VOLUME / "kustomization.yaml").read_text()
    assert IMAGE_VOLUMES.removesuffix(".0") in text


@requires_kubectl
def test_a_misspelt_field_is_found_by_each_kind_of_schema():
    rendering = render("cpu", "keda", "monitoring")
    kinds = ("Deployment", "PodDisruptionBudget", "ScaledObject", "ServiceMonitor", "PrometheusRule")
    broken = copy.deepcopy([rendering.one(kind) for kind in kinds])
    for each in broken:
        each["spec"]["replica"] = 1
    found = mistakes(broken, NEWEST)
    assert [line.partition(".")[0] for line in found] == list(kinds)
    assert all("replica" in line for line in found)


def test_the_alerts_for_the_operator_are_those_of_prometheus():
    assert FILE.read_text(encoding="utf-8") == prometheus_rule(), "run python -m deploy.kubernetes.rules"
    sources = [yaml.safe_load(path.read_text(encoding="utf-8"))["groups"] for path in sorted(RULES.glob("*.yml"))]
    assert yaml.safe_load(FILE.read_text(encoding="utf-8"))["spec"]["groups"] == list(chain(*sources))


@requires_kubectl
def test_the_kustomizations_of_the_guide_render_without_mistakes(tmp_path):
    (tmp_path / "atelier").symlink_to(ROOT)
    examples = [text for text in code("yaml", GUIDE) if "kind: Kustomization" in text]
    assert examples
    for number, example in enumerate(examples):
        own = tmp_path / str(number)
        own.mkdir()
        (own / "kustomization.yaml").write_text(example)
        objects = kustomize(own)
        assert mistakes(objects, NEWEST) == []
        [deployment] = [each for each in objects if each["kind"] == "Deployment"]
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        image, _, target = container["image"].partition(f":{__version__}-")
        assert image == "registry.example/atelier"
        assert re.search(rf"(?m)^FROM \S+ AS {target}$", (ROOT / "Dockerfile").read_text())


@requires_kubectl
def test_the_pod_of_the_guide_may_publish_into_the_claim():
    [publisher] = [yaml.safe_load(text) for text in code("yaml", GUIDE) if "kind: Pod\n" in text]
    assert mistakes([publisher], NEWEST) == []
    assert list(not_restricted(publisher["spec"])) == []
    [volume] = publisher["spec"]["volumes"]
    claim = render("cpu").one("PersistentVolumeClaim")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert publisher["metadata"]["namespace"] == claim["metadata"]["namespace"]


@requires_kubectl
def test_the_command_of_the_guide_prints_what_it_shows():
    [command] = commands(GUIDE)
    environment = {**os.environ, "PATH": f"{TOOLS / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        command.line, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == command.output


def test_the_guide_describes_every_overlay_and_component():
    text = GUIDE.read_text()
    directories = {each.name for each in (MANIFESTS / "components").iterdir() if each.is_dir()}
    assert directories == {*COMPONENTS, "without-claim"}
    assert {each.name for each in (MANIFESTS / "overlays").iterdir()} == set(OVERLAYS)
    assert all(f"`{name}`" in text for name in (*COMPONENTS, *OVERLAYS))
