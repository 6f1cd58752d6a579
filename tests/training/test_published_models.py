"""What must hold for every version under models/, whichever there are."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from app.contract.golden import Golden
from app.contract.manifest import verify_manifest
from app.contract.model_spec import ONNX_FILE, ModelSpec, TextPreprocessing
from training.datasets.synthetic import draw_garment
from training.export import onnx_runner

MODELS = Path(__file__).parents[2] / "models"
SIZE_LIMIT_BYTES = 25_000_000
DRAWINGS = 40


def versions(pattern="*"):
    return sorted(path.parent for path in MODELS.glob(f"{pattern}/[1-9]*/manifest.json"))


def test_all_published_versions_together_stay_small():
    sizes = [path.stat().st_size for version in versions() for path in version.rglob("*") if path.is_file()]
    assert sum(sizes) <= SIZE_LIMIT_BYTES


def test_every_published_version_is_whole_and_answers_its_golden_rows():
    for version in versions():
        verify_manifest(version)
        spec, golden = ModelSpec.read(version), Golden.read(version)
        run = onnx_runner(version / ONNX_FILE, spec)
        for row in range(golden.rows):
            for name, values in run(golden.row(row)).items():
                limit = golden.tolerance_for("CPUExecutionProvider")
                np.testing.assert_allclose(
                    values[0], golden.outputs[name][row], rtol=0, atol=limit, err_msg=str(version)
                )


def test_every_published_version_gives_each_of_its_classes_on_a_golden_row():
    for version in versions():
        spec, golden = ModelSpec.read(version), Golden.read(version)
        given = set(golden.outputs[spec.postprocessing.output].argmax(1).tolist())
        assert given == set(range(len(spec.postprocessing.labels))), version


def test_published_text_models_run_the_fused_lstm_and_no_loop():
    for version in versions():
        if isinstance(ModelSpec.read(version).preprocessing, TextPreprocessing):
            ops = {node.op_type for node in onnx.load(version / ONNX_FILE).graph.node}
            assert "LSTM" in ops, version
            assert not ops & {"Loop", "Scan"}, version


@pytest.mark.parametrize("garment", ["Ankle boot", "Bag", "Trouser"])
def test_published_fashion_models_recognise_the_drawn_boot_bag_and_trouser(garment):
    for version in versions("fashion-mnist-*"):
        spec = ModelSpec.read(version)
        drawn = np.stack([draw_garment(garment, seed=seed) for seed in range(DRAWINGS)])
        scores = onnx_runner(version / ONNX_FILE, spec)({spec.inputs[0].name: drawn})[spec.postprocessing.output]
        label = spec.postprocessing.labels.index(garment)
        assert scores[0].argmax() == label, version  # the drawing of seed 0 is the one in the README
        assert (scores.argmax(1) == label).mean() >= 0.95, version
