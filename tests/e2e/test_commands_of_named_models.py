"""The commands find models outside the models directory as the service does: by the same options."""

import json
import re

import numpy as np
import pytest

from tests.support.commands import ALWAYS, QUICK, run
from tests.support.images import png
from tests.support.named_models import LABELS, NamedService, config, default, write_store
from tests.support.service import start_fixture, wait_until
from tests.support.tiny_models import write_brightness_model

ONLY_FIRST = "model_version_policy { specific { versions: 1 } }"


start = start_fixture(NamedService)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path, versions=(1, 2))


@pytest.fixture
def brightness(tmp_path):
    """A verified version of a model, outside any models directory."""
    return write_brightness_model(tmp_path / "store").parent


def models_config(tmp_path, text):
    file = tmp_path / "models.config"
    file.write_text(text)
    return file


def named(directory, tmp_path, *, by, name, more=""):
    """The options that name a model: by a file, or alone."""
    if by == "file":
        return "--model-config-file", models_config(tmp_path, config(directory, name=name, more=more))
    return "--model-name", name, "--model-base-path", directory


def labels(directory):
    return json.loads((directory / "serving.json").read_text())["version_labels"]


@pytest.mark.parametrize("command", ["models", "predict", "score", "verify", "promote", "rollback", "autotune"])
def test_the_options_are_those_of_the_service(command):
    def options(name):
        words = " ".join(run(name, "--help").stdout.split("Options:\n")[1].split())
        return sorted(re.findall(r"--model(?!-memory)\S+ <.*?\.(?= --)", words))

    assert len(options("serve")) == 4
    assert options(command) == options("serve")


@pytest.mark.parametrize("by", ["file", "option"])
def test_models_lists_them_by_the_name_and_labels_that_are_stated(store, tmp_path, by):
    done = run("models", *named(store, tmp_path, by=by, name="rule", more=LABELS))
    assert done.returncode == 0, done.stderr
    headings = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert (
        headings
        == {
            "file": ["rule, version 2 (candidate)", "rule, version 1 (stable, serving)"],
            "option": ["rule, version 2 (serving)", "rule, version 1"],
        }[by]
    )


@pytest.mark.parametrize("by", ["file", "option"])
def test_predict_and_score_run_them(brightness, tmp_path, by):
    options = named(brightness, tmp_path, by=by, name="brightness")
    picture = tmp_path / "bright.png"
    picture.write_bytes(png(np.full((4, 4), 250, np.uint8)))
    assert run("predict", "brightness", picture, "--top-k", 1, *options).stdout.split() == ["1.0000", "bright"]
    output = tmp_path / "scores.csv"
    done = run("score", "brightness", picture, "--output", output, *options)
    assert done.returncode == 0, done.stderr
    assert "bright" in output.read_text()


@pytest.mark.parametrize("by", ["file", "option"])
def test_autotune_writes_at_the_base_path(brightness, tmp_path, by):
    options = named(brightness, tmp_path, by=by, name="brightness")
    done = run("autotune", "brightness", "--p99-ms", ALWAYS, *QUICK, *options)
    assert done.returncode == 0, done.stderr
    assert f"wrote {brightness / 'serving.json'}: " in done.stdout
    assert "max_batch_size" in json.loads((brightness / "serving.json").read_text())["batching"]


@pytest.mark.parametrize("by", ["file", "option"])
def test_the_service_follows_what_promote_and_rollback_write(store, tmp_path, start, by):
    options = named(store, tmp_path, by=by, name="rule")
    service = start(*map(str, options))
    assert default(service) == "2"
    done = run("promote", "rule", 1, *options)
    line = "rule: version 1 is stable (previously 2). A running service follows within seconds.\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, line, "")
    wait_until(lambda: default(service) == "1")
    assert run("rollback", "rule", *options).returncode == 0
    wait_until(lambda: default(service) == "2")


def test_a_promotion_counts_more_than_the_policy_and_the_labels_of_the_file(store, tmp_path, start):
    options = named(store, tmp_path, by="file", name="rule", more=ONLY_FIRST + LABELS)
    service = start(*map(str, options))
    assert default(service) == "1"
    done = run("promote", "rule", 2, *options)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "rule: version 2 is stable (previously 1). A running service follows within seconds.",
            f"{store / 'serving.json'} now decides all labels of rule; version_labels in {options[1]} has no effect.",
        ],
    )
    assert labels(store) == {"stable": 2, "candidate": 2}
    wait_until(lambda: default(service) == "2")
    models_config(tmp_path, config(store, more=LABELS))  # still labels version 1 stable
    service.wait_for_log(f"{options[1]} names 1 models")
    assert run("promote", "rule", 2, *options).returncode == 0
    assert default(service) == "2"
    assert run("rollback", "rule", *options).stdout.startswith("rule: version 1 is stable (previously 2)")
    wait_until(lambda: default(service) == "1")


def test_a_promoted_version_serves_although_the_policy_of_the_file_leaves_it_out(store, tmp_path, start):
    options = named(store, tmp_path, by="file", name="rule", more=ONLY_FIRST)
    service = start(*map(str, options))
    assert run("promote", "rule", 2, *options).stdout.startswith("rule: version 2 is stable (previously 1)")
    assert labels(store) == {"stable": 2}
    wait_until(lambda: default(service) == "2")


def test_with_a_models_directory_the_named_model_of_a_name_is_the_one_that_is_promoted(store, tmp_path):
    models = tmp_path / "models"
    for version in (1, 2):
        write_brightness_model(models, name="rule", version=version)
    write_brightness_model(models)
    options = (*named(store, tmp_path, by="file", name="rule"), "--models-dir", models)
    done = run("promote", "rule", 1, *options)
    assert done.returncode == 0
    assert done.stderr == f"model rule: {store} counts, and {models / 'rule'} does not\n"
    assert labels(store) == {"stable": 1}
    assert not (models / "rule" / "serving.json").exists()
    assert run("promote", "brightness", 1, *options).returncode == 0
    assert labels(models / "brightness") == {"stable": 1}


def test_the_variables_of_the_service_count_for_the_commands(store, tmp_path):
    file = models_config(tmp_path, config(store))
    assert run("promote", "rule", 1, ATELIER_MODEL_CONFIG_FILE=str(file)).returncode == 0
    assert labels(store) == {"stable": 1}
    alone = {"ATELIER_MODEL_NAME": "rule", "ATELIER_MODEL_BASE_PATH": str(store)}
    assert "rule, version 1 (stable, serving)" in run("models", **alone).stdout


COMMANDS = {
    "models": (),
    "predict": ("rule", "x"),
    "score": ("rule", "x.csv", "--output", "y.csv"),
    "promote": ("rule", 1),
    "rollback": ("rule",),
    "autotune": ("rule", "--p99-ms", 1),
}
MISTAKES = {
    "a file that is not there": (
        ("--model-config-file", "/none/models.config"),
        "/none/models.config: No such file or directory",
    ),
    "a name alone": (("--model-name", "rule"), "--model-name and --model-base-path belong together; give both"),
    "a path alone": (("--model-base-path", "/tmp"), "--model-name and --model-base-path belong together; give both"),
    "a path that is not there": (
        ("--model-name", "rule", "--model-base-path", "/none"),
        "model 'rule': base_path '/none' does not exist, or is not a directory",
    ),
    "a file and a name": (
        ("--model-config-file", "/none", "--model-name", "rule", "--model-base-path", "/tmp"),
        "--model-config-file names all models; give it or --model-name, not both",
    ),
    "a models directory that is not there": (
        ("--models-dir", "/none", "--model-name", "rule", "--model-base-path", "/tmp"),
        "the models directory '/none' does not exist; set it with --models-dir",
    ),
}


@pytest.mark.parametrize("command", ["models", "promote", "autotune"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(mistake, command):
    options, error = MISTAKES[mistake]
    done = run(command, *COMMANDS[command], *options)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {error}\n")


@pytest.mark.parametrize("command", ["predict", "score", "rollback"])
def test_the_other_commands_print_the_same_error(tmp_path, command):
    (tmp_path / "x.csv").write_text("x\n1\n")
    arguments = [str(tmp_path / each) if str(each).endswith(".csv") else each for each in COMMANDS[command]]
    options, error = MISTAKES["a file that is not there"]
    done = run(command, *arguments, *options)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {error}\n")


@pytest.mark.parametrize("command", ["models", "promote", "autotune"])
def test_a_file_that_breaks_a_rule_is_one_sentence(tmp_path, command):
    file = models_config(tmp_path, config("/none", name="rule"))
    done = run(command, *COMMANDS[command], "--model-config-file", file)
    sentence = f"error: {file}: model 'rule': base_path '/none' does not exist, or is not a directory\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)


@pytest.mark.parametrize("command", ["promote", "rollback", "autotune", "predict"])
def test_a_model_that_is_not_named_is_one_sentence(store, tmp_path, command):
    options = named(store, tmp_path, by="file", name="numbers")
    done = run(command, *COMMANDS[command], *options)
    sentence = "error: Request for unknown model: 'rule' is not found; models: numbers\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)


@pytest.mark.parametrize("by", ["file", "option"])
def test_models_names_models_without_a_version(tmp_path, by):
    empty = tmp_path / "empty"
    empty.mkdir()
    options = named(empty, tmp_path, by=by, name="rule")
    done = run("models", *options)
    assert (done.returncode, done.stderr) == (2, f"error: no model of {options[-1]} has a version\n")
