"""Checks manifests on standard input: ``python -m tests.deploy.kubernetes_schemas 1.37.0``; a line for each mistake.

Requires the packages of requirements/kubernetes.txt. Unknown fields are mistakes too. Kinds of Kubernetes: the JSON
schemas of kubernetes-validate. KEDA and Prometheus' operator: the models that cloudcoil makes of their definitions.
KServe: the tables of fields in its own Python package, without its dependencies.
"""

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from pydantic import ValidationError

# Imported only for manifests of the kind: that takes seconds.
CLOUDCOIL = {
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
    "PrometheusRule": "cloudcoil.models.prometheus_operator.v1",
}
KSERVE = {"ServingRuntime": "v1alpha1_serving_runtime", "InferenceService": "v1beta1_inference_service"}


def mistakes(manifest: dict[str, Any], version: str) -> Iterator[str]:
    """What is wrong with one object."""
    kind = manifest["kind"]
    if kind in CLOUDCOIL:
        model = getattr(importlib.import_module(CLOUDCOIL[kind]), kind)
        try:
            read = model.model_validate(manifest)
        except ValidationError as error:
            yield str(error)
        else:
            yield from _unread(manifest, read.model_dump(mode="json", by_alias=True, exclude_unset=True), kind)
    elif kind in KSERVE:
        yield from _of_kserve(manifest, KSERVE[kind], kind)
    else:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{kind}.{'.'.join(map(str, error.path))}: {error.message}"


def _unread(given: Any, read: Any, path: str) -> Iterator[str]:
    """Fields that a model dropped or changed."""
    if isinstance(given, dict) and isinstance(read, dict):
        for name, value in given.items():
            yield from _unread(value, read.get(name), f"{path}.{name}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for index, (value, other) in enumerate(zip(given, read, strict=True)):
            yield from _unread(value, other, f"{path}[{index}]")
    elif given != read:
        yield f"{path}: unknown field, or another value than {given!r}"


def _of_kserve(given: Any, module: str, path: str) -> Iterator[str]:
    """Fields that a type of KServe does not have, and scalars of another type; types of Kubernetes are not checked."""
    types, names = _tables(module)
    fields = {names[attribute]: kind for attribute, kind in types.items()}
    for name, value in given.items():
        if name not in fields:
            yield f"{path}.{name}: unknown field"
            continue
        is_list = fields[name].startswith("list[")
        kind = fields[name].removeprefix("list[").removesuffix("]")
        if is_list != isinstance(value, list):
            yield f"{path}.{name}: expected {fields[name]}"
            continue
        for each in value if is_list else [value]:
            if kind in {"str", "int", "bool"} and type(each).__name__ != kind:
                yield f"{path}.{name}: expected {kind}, found {each!r}"
            elif kind.startswith(("V1alpha1", "V1beta1")):
                yield from _of_kserve(each, _module(kind), f"{path}.{name}")


def _module(kind: str) -> str:
    """V1beta1ModelSpec -> v1beta1_model_spec."""
    version = kind[: len("V1beta1") if kind.startswith("V1beta1") else len("V1alpha1")]
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.removeprefix(version))
    return version.lower() + words


def _tables(module: str) -> tuple[dict[str, str], dict[str, str]]:
    """The types of the attributes of a generated class, and their names in manifests."""
    spec = importlib.util.find_spec("kserve")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse((Path(spec.origin).parent / f"models/{module}.py").read_text(encoding="utf-8"))
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)
    }
    return found["openapi_types"], found["attribute_map"]


if __name__ == "__main__":
    for document in yaml.safe_load_all(sys.stdin):
        for mistake in mistakes(document, sys.argv[1]):
            sys.stdout.write(mistake.replace("\n", " ") + "\n")
