"""The versions under models/ match their descriptions, and classify drawn images."""

import json
import re
import shlex

import numpy as np
import onnx
import pytest
import typer
from PIL import Image

import training.cli
from app.contract.golden import Golden
from app.contract.manifest import verify_manifest
from app.contract.model_spec import ONNX_FILE, ModelSpec
from app.contract.steps import Classification, ImagePreprocessing, TextPreprocessing
from tests.support.images import encode, png
from tests.support.saved_models import tensorflow
from tests.support.service import ROOT, Service
from training.datasets.drawn.synthetic import draw_garment
from training.datasets.fashion_labels import FASHION_LABELS
from training.export.model_export import onnx_runner, saved_model_runner
from training.export.parity import check_padding, check_runner, padding_tolerance
from training.overrides import apply_overrides
from training.runs.catalogue import load_recipe

MODELS = ROOT / "models"
VERSIONS = sorted(path.parent for path in MODELS.glob("*/*/manifest.json"))
PUBLISHED = {
    "cats-vs-dogs-cnn",
    "fashion-mnist-cnn",
    "fashion-mnist-mlp",
    "gym-schedule-rnn",
    "imdb-sentiment-lstm",
    "shakespeare-next-word-lstm",
}
LSTMS = ("gym-schedule-rnn", "imdb-sentiment-lstm", "shakespeare-next-word-lstm")
FASHION = ("fashion-mnist-mlp", "fashion-mnist-cnn")

each_version = pytest.mark.parametrize("directory", VERSIONS, ids=lambda path: f"{path.parent.name}/{path.name}")


@pytest.fixture(scope="module")
def service():
    service = Service(MODELS)
    yield service
    assert service.stop() == 0


def classify(service, model, content):
    reply = service.client.post(f"/v1/models/{model}:classify", content=content)
    assert reply.status_code == 200, reply.text
    return reply.json()["results"][0]


def test_all_models_are_published_and_serve(service):
    assert set(service.client.get("/v1/models").json()["models"]) == PUBLISHED
    for model in PUBLISHED:
        [version] = service.client.get(f"/v1/models/{model}").json()["model_version_status"]
        assert version["state"] == "AVAILABLE", version


def test_no_file_is_large_and_all_of_models_fits_25_mb():
    sizes = [path.stat().st_size for path in MODELS.rglob("*") if path.is_file()]
    assert max(sizes) <= 8_000_000
    assert sum(sizes) <= 25_000_000


@each_version
def test_a_version_is_whole_and_keeps_its_targets(directory):
    verify_manifest(directory)
    metrics = json.loads((directory / "metrics.json").read_text())
    targets = load_recipe(directory.parent.name).targets
    if targets.test_accuracy is not None:
        assert metrics["test"]["accuracy"] >= targets.test_accuracy
    assert metrics["parameters"] <= targets.parameters
    if targets.test_perplexity is not None:
        assert metrics["test"]["perplexity"] <= targets.test_perplexity
    passes = " reaches " in metrics["gate"] or metrics["gate"] == "the recipe sets no target"
    assert passes != ("--force" in metrics["command"]), metrics["gate"]
    assert all(finding["holds"] is not False for finding in metrics.get("findings", []))
    assert metrics["dataset"]["form"] != "synthetic"
    assert f"# {directory.parent.name}\n" in (directory / "card.md").read_text()


@each_version
def test_a_version_was_trained_in_the_time_that_its_recipe_allows(directory):
    metrics = json.loads((directory / "metrics.json").read_text())
    assert metrics["seconds"]["training"] <= 60 * load_recipe(directory.parent.name).targets.minutes
    assert metrics["target"]["test_accuracy"] == load_recipe(directory.parent.name).targets.test_accuracy


@each_version
def test_the_commands_of_a_card_are_commands_of_training_with_settings_of_the_recipe(directory):
    """They are parsed, not run."""
    metrics = json.loads((directory / "metrics.json").read_text())
    card = (directory / "card.md").read_text()
    again = re.findall(r"^python -m training .*$", card, flags=re.MULTILINE)
    assert again
    commands = typer.main.get_command(training.cli.app).commands
    for line in [*again, *metrics["command"].split(" && ")]:
        python, flag, package, name, *words = shlex.split(line)
        assert (python, flag, package) == ("python", "-m", "training"), line
        context = commands[name].make_context(name, words)
        assert context.params["name"] == directory.parent.name
        apply_overrides(load_recipe(context.params["name"]), context.params["assignments"] or ())


@each_version
def test_a_version_carries_no_optimiser_state(directory):
    parameters = json.loads((directory / "metrics.json").read_text())["parameters"]
    stored = sum(path.stat().st_size for path in (directory / "variables").iterdir())
    assert stored < 4 * parameters + 20_000


@each_version
def test_golden_samples_cover_every_class_and_length(directory):
    golden, spec = Golden.read(directory), ModelSpec.read(directory)
    assert golden.rows >= 64
    if isinstance(spec.postprocessing, Classification):
        assert set(golden.outputs["probabilities"].argmax(axis=1)) == set(range(len(spec.postprocessing.labels)))
    assert golden.raw
    if isinstance(spec.preprocessing, TextPreprocessing):
        lengths = golden.lengths["token_ids"]
        assert (lengths.min(), lengths.max()) == (1, spec.preprocessing.max_length)


@each_version
def test_both_files_of_a_version_give_the_answers_of_keras_in_batches_of_all_sizes(directory):
    tensorflow()
    spec, golden = ModelSpec.read(directory), Golden.read(directory)
    limit, name = golden.tolerance_for("CPUExecutionProvider"), directory.parent.name
    onnx_file = onnx_runner(directory / ONNX_FILE, spec)
    for runner in (onnx_file, saved_model_runner(directory, spec)):
        check_runner(name, golden, runner, tolerance=limit, than="Keras")
    if golden.lengths:
        check_padding(name, golden, onnx_file, tolerance=padding_tolerance(directory / ONNX_FILE))


@pytest.mark.parametrize("model", LSTMS)
def test_a_text_model_runs_the_fused_lstm_and_no_loop(model):
    [directory] = [path for path in VERSIONS if path.parent.name == model]
    ops = {node.op_type for node in onnx.load(directory / ONNX_FILE).graph.node}
    assert "LSTM" in ops
    assert not ops & {"Loop", "Scan"}


@each_version
def test_pre_processing_and_labels_are_those_of_the_recipe(directory):
    spec = ModelSpec.read(directory)
    recipe = load_recipe(directory.parent.name)
    if isinstance(spec.preprocessing, ImagePreprocessing):
        assert spec.preprocessing.steps == recipe.pipeline.steps
    assert spec.batching.max_batch_size == recipe.max_batch_size


@pytest.mark.parametrize("model", FASHION)
@pytest.mark.parametrize("garment", ["Ankle boot", "Bag", "Trouser"])
def test_the_fashion_models_recognise_drawn_garments(service, model, garment):
    for seed in range(20):
        assert classify(service, model, png(draw_garment(garment, seed=seed)))[0][0] == garment


@pytest.mark.parametrize("model", FASHION)
def test_a_photograph_like_drawing_on_a_light_ground_is_recognised(service, model):
    boot = Image.fromarray(255 - draw_garment("Ankle boot")).resize((280, 280), Image.Resampling.BICUBIC)
    photo = Image.new("RGB", (500, 400), "white")
    photo.paste(boot, (110, 60))
    assert classify(service, model, encode(photo, "JPEG", quality=95))[0][0] == "Ankle boot"


def test_a_png_a_json_matrix_and_raw_bytes_give_the_same_answer(service):
    boot = draw_garment("Ankle boot")
    path = "/v1/models/fashion-mnist-cnn:predict"
    raw = service.client.post(path, content=boot.tobytes(), headers={"content-type": "application/octet-stream"})
    matrix = service.client.post(path, json={"instances": [boot.tolist()]})
    picture = service.client.post(path, content=png(boot), headers={"content-type": "image/png"})
    assert raw.text == matrix.text == picture.text
    assert int(np.argmax(raw.json()["predictions"][0])) == FASHION_LABELS.index("Ankle boot")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A wonderful film, moving and funny from start to finish.", "positive"),
        ("The plot was dull and the acting was terrible.", "negative"),
        ("One of the best movies I have ever seen.", "positive"),
        ("A complete waste of time and money.", "negative"),
        ("Boring, predictable and far too long.", "negative"),
        ("The direction is superb and the cast is excellent.", "positive"),
    ],
)
def test_plain_sentences_get_the_right_label(service, text, label):
    assert classify(service, "imdb-sentiment-lstm", text)[0][0] == label


def test_a_text_of_unknown_words_and_one_without_words_are_answered(service):
    for text in ("xyzzy", "...", "🎬"):
        scores = classify(service, "imdb-sentiment-lstm", text.encode())
        assert sum(score for _, score in scores) == pytest.approx(1, abs=1e-5)


def test_padding_does_not_change_an_answer(service):
    path = "/v1/models/imdb-sentiment-lstm:predict"
    texts = ["A wonderful film.", "The plot was dull and the acting was terrible, and it went on for hours."]
    together = service.client.post(path, json={"instances": texts}).json()["predictions"]
    alone = [service.client.post(path, json={"instances": [text]}).json()["predictions"][0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("missed", range(8))
def test_the_gym_model_knows_today_s_exercise_after_missed_days(service, missed):
    schedule = ("shoulder", "biceps", "cardio")
    for first in range(3):
        for attended in (1, 2, 5, 12, 20):
            days = [schedule[(first + day) % 3] for day in range(attended)] + ["missed"] * missed
            today = schedule[(first + attended + missed) % 3]
            assert classify(service, "gym-schedule-rnn", " ".join(days))[0][0] == today


@pytest.mark.parametrize(
    ("text", "among"),
    [
        ("My noble", {"lord", "lords", "brother", "friend", "father", "cousin", "sir", "prince", "gentleman"}),
        ("I pray", {"you", "thee", "thou", "your", "god", "to", "for", "heaven", ","}),
        ("The king is", {"dead", "not", "come", "the", "a", "my", "in", "gone", "to", "it", ",", "so"}),
    ],
)
def test_the_next_word_is_one_that_could_follow(service, text, among):
    words = [word for word, _ in classify(service, "shakespeare-next-word-lstm", text)]
    assert len(words) == 10
    assert set(words[:3]) & among, words


def test_the_next_word_model_knows_that_a_speaker_is_followed_by_a_new_line(service):
    best, probability = classify(service, "shakespeare-next-word-lstm", "What say you?\n\nFirst Citizen:")[0]
    assert best == "<line>"
    assert probability > 0.9
