"""Serves real graphs of other projects: ``python -m tests.foreign FILES PYTHON``; ``make foreign-models`` calls it.

Each graph is alone in its directory. Its answers must be those of ONNX Runtime to the same batch, bit by bit. The
example of docs/how-to/write-a-backend.md serves a pipeline of scikit-learn; its answers must be those of the pipeline.
Prints a table, and ends with 1 if a model does not serve or an answer differs.
"""

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tritonclient.http as triton

from tests.foreign.graphs import GRAPHS, Real
from tests.support.plugins import code_of, install
from tests.support.service import Service

SEEDS = range(5)
TYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64"}


def main(files: Path, python: Path) -> int:
    """The exit code: 1 if an answer differs or a model does not serve."""
    onnxruntime.set_default_logger_severity(3)  # errors only
    with tempfile.TemporaryDirectory() as place:
        models, made = Path(place, "models"), Path(place, "made")
        made.mkdir()
        subprocess.run([python, Path(__file__).with_name("write_scikit.py"), made], check=True)
        found = {each.name: next(p / each.path for p in (files, made) if (p / each.path).is_file()) for each in GRAPHS}
        for name, path in found.items():
            (models / name / "1").mkdir(parents=True)
            shutil.copy(path, models / name / "1" / "model.onnx")
        [packages] = python.parent.parent.glob("lib/python3*/site-packages")
        versions = _versions(files) | _versions(packages)
        _write_pipeline(models, made)
        site = _install_plugin(Path(place), packages)
        service = Service(models, "--plugins", "pipeline", environment={"PYTHONPATH": str(site)})
        try:
            failed = 0
            print("| package | file | how it serves | answers |\n|---|---|---|---|")  # noqa: T201
            for each in GRAPHS:
                state, answers = _tried(service, each, found[each.name])
                failed += answers != "equal"
                package = f"{each.package} {versions[each.package]}"
                print(f"| {package} | {each.path} | {state} | {answers} |", flush=True)  # noqa: T201
            answers = _pipeline_answers(service, made)
            failed += answers != "equal"
            print(f"| scikit-learn {versions['scikit-learn']} | pipeline.joblib | --plugins | {answers} |")  # noqa: T201
        finally:
            code = service.stop()
    return int(failed > 0 or code != 0)


def _write_pipeline(models: Path, made: Path) -> None:
    """A version that the example of the document runs."""
    version = models / "pipeline" / "1"
    version.mkdir(parents=True)
    shutil.copy(made / "pipeline.joblib", version)
    (version / "backend.json").write_text('{"backend": "pipeline"}')


def _install_plugin(place: Path, packages: Path) -> Path:
    """A directory with the example and scikit-learn, but with the NumPy of the service."""
    site = place / "site"
    site.mkdir()
    for name in (
        "sklearn",
        "scikit_learn.libs",
        "scipy",
        "scipy.libs",
        "joblib",
        "cloudpickle",
        "threadpoolctl.py",
        "narwhals",
    ):
        if (packages / name).exists():
            (site / name).symlink_to(packages / name)
    install(site, pipeline=("pipeline", "Pipeline", code_of("pipeline")))
    return site


def _pipeline_answers(service: Service, made: Path) -> str:
    """Whether the answers of the pipeline are those that it gave where it was fitted."""
    with np.load(made / "pipeline.npz") as known:
        features, probabilities = known["features"], known["probabilities"]
    tensor = triton.InferInput("features", features.shape, "FP64")
    tensor.set_data_from_numpy(features)
    answer = triton.InferenceServerClient(service.url.removeprefix("http://")).infer("pipeline", [tensor])
    found = answer.as_numpy("probabilities")
    if not np.array_equal(answer.as_numpy("class"), probabilities.argmax(axis=1)):
        return "classes differ"
    return (
        "equal"
        if _same_bits(found, probabilities)
        else f"probabilities differ by {np.abs(found - probabilities).max()}"
    )


def _tried(service: Service, graph: Real, path: Path) -> tuple[str, str]:
    """How the service describes a model, and whether its answers are those of ONNX Runtime."""
    [entry] = [each for each in service.client.post("/v2/repository/index").json() if each["name"] == graph.name]
    reason = entry.get("reason", "").partition(": ")[2].partition("; ")[2]
    if entry["state"] != "READY":
        return f"refused: {entry.get('reason', '')}", "none"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    client = triton.InferenceServerClient(service.url.removeprefix("http://"))
    for seed in SEEDS:
        sample = graph.sample(seed)
        expected = dict(zip(names, session.run(names, sample), strict=True))
        answer = client.infer(graph.name, [_input(name, values) for name, values in sample.items()])
        for name, values in expected.items():
            if not _same_bits(answer.as_numpy(name), values):
                return reason, f"output {name} differs"
    return reason, "equal"


def _input(name: str, values: Any) -> triton.InferInput:
    tensor = triton.InferInput(name, values.shape, TYPES[values.dtype.name])
    tensor.set_data_from_numpy(values)
    return tensor


def _same_bits(one: Any, other: Any) -> bool:
    same: bool = one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return same and not np.isnan(one.astype(np.float64)).any()


def _versions(*directories: Path) -> dict[str, str]:
    found = distributions(path=[str(each) for each in directories])
    return {each.metadata["Name"].replace("_", "-"): each.version for each in found}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
