"""``python -m app autotune`` and the service that follows its settings."""

import json

import pytest

from app.repository.policy_file import read_policy
from tests.support.bare_models import bare, write_centred_model
from tests.support.commands import ALWAYS, NEVER, QUICK, run
from tests.support.service import Service
from tests.support.tiny_models import write_brightness_model, write_words_model


@pytest.mark.parametrize("write", [write_words_model, write_brightness_model])
def test_the_service_runs_with_the_settings_that_autotune_wrote(tmp_path, write):
    directory = write(tmp_path).parent
    (directory / "serving.json").write_text('{"version_labels": {"stable": 1}, "batching": {"max_queue_rows": 99}}')
    result = run("autotune", directory.name, "--p99-ms", ALWAYS, *QUICK, "--models-dir", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "without HTTP" in result.stdout
    assert result.stdout.count("chosen") == 1
    written = json.loads((directory / "serving.json").read_text())
    assert written["version_labels"] == {"stable": 1}
    batching = written["batching"]
    assert batching["max_queue_rows"] == 99
    assert ("length_buckets" in batching) == (write is write_words_model)
    assert read_policy(directory).batching.max_batch_size == batching["max_batch_size"]
    service = Service(tmp_path)
    try:
        config = service.client.get(f"/v2/models/{directory.name}/config").json()
    finally:
        assert service.stop() == 0
    assert config["max_batch_size"] == batching["max_batch_size"]
    assert config["dynamic_batching"]["max_queue_delay_microseconds"] == batching["max_queue_delay_us"]
    buckets = config["parameters"].get("length_buckets", {"string_value": ""})["string_value"]  # none: it is left out
    assert buckets == ",".join(map(str, batching.get("length_buckets", [])))


def test_a_version_of_another_tool_is_measured_with_its_samples_or_with_generated_inputs(tmp_path):
    models = tmp_path / "models"
    bare(models, write_brightness_model(tmp_path / "written"))
    arguments = ("--p99-ms", ALWAYS, *QUICK, "--models-dir", models)
    result = run("autotune", "brightness", *arguments)
    assert result.returncode == 0, result.stderr
    assert json.loads((models / "brightness" / "serving.json").read_text())["batching"]["max_batch_size"] >= 1
    state = {"ATELIER_STATE_DIR": str(tmp_path / "state")}
    assert run("verify", "brightness", "--models-dir", models, **state).returncode == 0
    result = run("autotune", "brightness", *arguments, **state)
    assert result.returncode == 0, result.stderr


def test_a_model_that_cannot_batch_has_nothing_to_measure(tmp_path):
    write_centred_model(tmp_path)
    result = run("autotune", "centred", "--p99-ms", ALWAYS, *QUICK, "--models-dir", tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: model 'centred' has no batching to measure, it cannot batch: ")
    assert not (tmp_path / "centred" / "serving.json").exists()


def test_a_dry_run_prints_the_choice_and_writes_nothing(tmp_path):
    directory = write_brightness_model(tmp_path).parent
    result = run("autotune", "brightness", "--p99-ms", ALWAYS, *QUICK, "--models-dir", tmp_path, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "nothing was written" in result.stdout
    assert not (directory / "serving.json").exists()


def test_a_limit_that_nothing_meets_is_reported_and_nothing_is_written(tmp_path):
    directory = write_brightness_model(tmp_path).parent
    result = run("autotune", "brightness", "--p99-ms", NEVER, *QUICK, "--models-dir", tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("error: no setting has a p99 of at most 1e-09 ms; the best reached ")
    assert "chosen" not in result.stdout
    assert not (directory / "serving.json").exists()


def test_an_invalid_serving_json_is_reported_and_not_changed(tmp_path):
    directory = write_brightness_model(tmp_path).parent
    path = directory / "serving.json"
    path.write_text('{"batching": {"max_batch_size": 0}}')
    result = run("autotune", "brightness", "--p99-ms", ALWAYS, *QUICK, "--models-dir", tmp_path)
    rule = "batching.max_batch_size is 0: Input should be greater than or equal to 1"
    assert (result.returncode, result.stderr.strip()) == (2, f"error: {path}: {rule}")
    assert path.read_text() == '{"batching": {"max_batch_size": 0}}'


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("nope", "--p99-ms", 1), "Request for unknown model: 'nope' is not found; models: brightness, fragile, words"),
        (("words", "--p99-ms", 1, "--version", 3), "Could not find version 3 of model words; known versions: 1"),
        (("words", "--p99-ms", 0), "--p99-ms is 0.0; it must be a number above 0"),
        (("words", "--p99-ms", "nan"), "--p99-ms is nan; it must be a number above 0"),
        (("words", "--p99-ms", 1, "--concurrency", 0), "--concurrency is 0; it must be a number above 0"),
        (("words", "--p99-ms", 1, "--seconds", -1), "--seconds is -1.0; it must be a number above 0"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(tiny_models, arguments, error):
    result = run("autotune", *arguments, "--models-dir", tiny_models)
    assert (result.returncode, result.stderr.strip()) == (2, f"error: {error}")


def test_a_models_directory_that_is_a_file_is_one_sentence(tmp_path):
    path = tmp_path / "models"
    path.write_text("")
    result = run("autotune", "words", "--p99-ms", 1, "--models-dir", path)
    sentence = f"error: {path} is not a readable directory; --models-dir requires one with <model>/<version>/"
    assert (result.returncode, result.stderr.strip()) == (2, sentence)
