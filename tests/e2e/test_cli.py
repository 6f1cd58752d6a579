"""The command line for a new user."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import app
from app.contract.manifest import write_manifest
from tests.support.commands import run
from tests.support.gpus import WITHOUT_GPUS
from tests.support.images import png
from tests.support.service import ROOT
from tests.support.tiny_models import write_brightness_model

COMMANDS = {
    "app": (
        *("serve", "models", "predict", "explain", "score", "verify", "promote", "rollback", "autotune"),
        *("recordings", "devices", "top", "canary", "keys"),
    ),
    "training": (
        *(
            "list",
            "new",
            "run",
            "retrain",
            "quantize",
            "evaluate",
            "report",
            "tune",
            "import",
            "baselines",
            "robustness",
            "reproduce",
            "compare",
            "all",
        ),
    ),
}


def help_of(package, *command, columns=80):
    return run(*command, "--help", package=package, COLUMNS=str(columns)).stdout


@pytest.mark.parametrize("package", COMMANDS)
def test_help_names_every_command_with_a_whole_sentence(package):
    text = help_of(package)
    sections = text.partition("\n\nCommands:\n")
    listed = [line.split(maxsplit=1) for line in sections[2].splitlines() if line]
    assert tuple(name for name, _ in listed) == COMMANDS[package]
    assert all(sentence.endswith(".") and "..." not in sentence for _, sentence in listed)


@pytest.mark.parametrize("package", COMMANDS)
def test_every_command_is_documented(package):
    text = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
    table = text.partition(f"## python -m {package}\n")[2].partition("\n## ")[0]
    # A command may have several rows, one for each kind of input.
    assert tuple(dict.fromkeys(re.findall(r"^\| `(\w+)", table, re.M))) == COMMANDS[package]


def test_both_command_lines_have_the_same_layout():
    service, training = help_of("app"), help_of("training")
    assert re.findall(r"^\S.*:$", service, re.M) == re.findall(r"^\S.*:$", training, re.M) == ["Options:", "Commands:"]
    options = [re.search(r"^Options:\n(.*?)\n\n", text, re.M | re.S)[1] for text in (service, training)]
    assert options[0] == options[1]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("package", COMMANDS)
def test_help_is_as_wide_as_the_terminal(package, columns):
    command = {"app": "serve", "training": "run"}[package]
    longest = max(map(len, help_of(package, command, columns=columns).splitlines()))
    assert columns - 20 < longest <= columns


@pytest.mark.parametrize("package", COMMANDS)
def test_no_arguments_show_help(package):
    shown = run(package=package)
    assert f"Usage: python -m {package}" in shown.stdout + shown.stderr


@pytest.mark.parametrize("package", COMMANDS)
def test_version(package):
    assert run("--version", package=package).stdout.strip() == app.__version__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("package", "script"), [("app", "atelier"), ("training", "atelier-training")])
def test_a_shell_completes_commands_and_options(package, script, shell):
    """The call of the script that --install-completion writes for the shell."""
    code = f"import sys; sys.argv[0] = {script!r}; from {package}.cli import main; main()"
    variable = f"_{script.upper().replace('-', '_')}_COMPLETE"

    def completed(words):
        asked = {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        asked |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1), variable: f"complete_{shell}"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **asked}, capture_output=True, text=True, check=False
        )
        return done.stdout

    found = completed(f"{script} ")
    for name in COMMANDS[package]:
        assert name in found
    command = {"app": "serve", "training": "run"}[package]
    assert "--models-dir" in completed(f"{script} {command} --m")


def test_models_and_list_are_readable_at_80_columns(tiny_models):
    for arguments, package in ((("models",), "app"), (("list",), "training")):
        text = run(*arguments, package=package, COLUMNS="80").stdout
        assert max(map(len, text.splitlines())) <= 80
        assert "…" not in text
        assert "Ankle boot" in text or package == "training"
    names = [line for line in run("models", COLUMNS="80").stdout.splitlines() if not line.startswith(" ")]
    assert "shakespeare-next-word-lstm, version 2" in names


@pytest.mark.parametrize("columns", [40, 80])
def test_no_word_of_a_table_is_cut_off(columns):
    text = run("devices", COLUMNS=str(columns)).stdout
    assert max(map(len, text.splitlines()[:-1])) <= columns
    assert "…" not in text


def test_models_lists_inputs_and_accuracy(tiny_models):
    text = run("models", "--models-dir", tiny_models).stdout
    assert "brightness" in text
    assert "image: pixels uint8[4, 4]" in text
    assert "negative, positive" in text
    assert "0.5000" in text


def test_models_of_an_empty_directory_shows_how_to_get_one(tmp_path):
    result = run("models", "--models-dir", tmp_path)
    assert result.returncode == 2
    assert "python -m training run NAME --publish" in result.stderr


def test_predict_a_file_and_a_text(tiny_models, tmp_path):
    picture = tmp_path / "bright.png"
    picture.write_bytes(png(np.full((4, 4), 250, np.uint8)))
    assert run("predict", "brightness", picture, "--models-dir", tiny_models).stdout.split()[1] == "bright"
    text = run("predict", "words", "a bad film", "--top-k", 1, "--models-dir", tiny_models).stdout
    assert text.split() == ["0.7311", "negative"]


def test_predict_warns_that_a_word_which_might_be_a_file_is_read_as_text(tiny_models):
    result = run("predict", "words", "good.txt", "--models-dir", tiny_models)
    assert result.stderr == "there is no file 'good.txt'; it is read as text\n"
    assert "positive" in result.stdout


def test_labels_with_brackets_are_printed_as_they_are(tmp_path):
    directory = write_brightness_model(tmp_path)
    path = directory / "model.json"
    path.write_text(path.read_text().replace('"dark"', '"[dark] :cat: [/b]"'))
    write_manifest(directory)
    picture = tmp_path / "dark.png"
    picture.write_bytes(png(np.full((4, 4), 5, np.uint8)))
    printed = run("predict", "brightness", picture, "--top-k", 1, "--models-dir", tmp_path)
    assert printed.stdout == " 1.0000  [dark] :cat: [/b]\n"
    listed = run("models", "--models-dir", tmp_path).stdout.splitlines()
    assert "  answers   [dark] :cat: [/b], bright" in map(str.rstrip, listed)


def test_models_names_the_file_that_cannot_be_read(tmp_path):
    directory = write_brightness_model(tmp_path)
    (directory / "metrics.json").unlink()
    result = run("models", "--models-dir", tmp_path)
    assert result.returncode == 0
    assert "unreadable" in result.stdout
    assert "No such file" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("nope", "x"), "Request for unknown model: 'nope' is not found; models: brightness, fragile, words"),
        (("words", "x", "--version", "3"), "Could not find version 3 of model words; known versions: 1"),
        (("brightness", "not a file"), "there is no file 'not a file'; model 'brightness' takes an image file"),
        (("words", "   "), "text is empty; send at least one word"),
        (("brightness", "[a] [/b]"), "there is no file '[a] [/b]'; model 'brightness' takes an image file"),
        (("[red]", ":king:"), "Request for unknown model: '[red]' is not found; models: brightness, fragile, words"),
        (("fragile", "x"), "there is no file 'x'; model 'fragile' takes a .json file"),
        (("words", ROOT / "docs/examples/boot.png"), "533 bytes are not UTF-8 text: byte 0 is 0x89"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(tiny_models, arguments, error):
    result = run("predict", *arguments, "--models-dir", tiny_models)
    assert (result.returncode, result.stderr.strip()) == (2, f"error: {error}")


def test_a_setting_out_of_range_is_one_sentence():
    result = run("serve", "--port", "99999")
    assert result.returncode == 2
    assert result.stderr.strip() == "error: port is 99999: Input should be less than or equal to 65535"


def test_a_misspelt_variable_is_refused():
    result = run("models", ATELIER_PROT="1")
    assert result.returncode == 2
    assert result.stderr == "error: unknown environment variable ATELIER_PROT; did you mean ATELIER_PORT?\n"
    assert (
        "unknown environment variable ATELIER_XYZ; known: ATELIER_MODELS_DIR, " in run("models", ATELIER_XYZ="1").stderr
    )


def test_the_variables_of_training_are_accepted(tiny_models):
    assert run("models", "--models-dir", tiny_models, ATELIER_RECIPES_DIR="recipes").returncode == 0


def test_devices_gives_the_reason():
    printed = " ".join(run("devices").stdout.replace("│", " ").split())
    assert "ONNX Runtime's CPU provider is always available" in printed
    assert "models run on cpu: device is 'auto', and no GPU was found" in printed or "cuda:0" in printed


def test_devices_gives_the_reason_why_a_gpu_is_not_available():
    done = run("devices", "--device", "cuda:0", **WITHOUT_GPUS)
    assert done.returncode == 2
    assert "ONNX Runtime's CPU provider is always available" in done.stdout
    assert done.stderr.strip() == (
        "error: device is 'cuda:0', which requires a GPU, but no NVIDIA driver reports one; "
        "set device to 'auto' or 'cpu', in serving.json or with --device"
    )
    by_variable = run("devices", ATELIER_DEVICE="cuda:0", **WITHOUT_GPUS)
    assert (by_variable.returncode, by_variable.stderr) == (2, done.stderr)


def test_an_invalid_device_is_refused_in_one_sentence():
    result = run("serve", "--device", "gpu")
    assert result.returncode == 2
    assert result.stderr.strip() == (
        "error: device is 'gpu'; it must be 'auto', 'cpu', 'cuda' or 'cuda:N' with the number of a GPU, as in 'cuda:0'"
    )


def test_the_service_imports_no_tensorflow():
    code = "import sys, app.cli, app.main; print(*{name.split('.')[0] for name in sys.modules})"
    imported = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {"app", "onnxruntime"} <= set(imported.split())
    assert not {"tensorflow", "tf_keras", "keras", "training"} & set(imported.split())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--models-dir", "/no/such"), "the models directory '/no/such' does not exist; set it with --models-dir"),
        (
            ("--port", 9103, "--grpc-port", 9103),
            "--port and --grpc-port are both 9103; choose different ports",
        ),
    ],
)
def test_serve_does_not_start_with_invalid_settings(arguments, error):
    result = run("serve", *arguments)
    assert (result.returncode, result.stderr) == (2, f"error: {error}\n")


def test_models_and_predict_go_by_serving_json(tmp_path):
    write_brightness_model(tmp_path)
    write_brightness_model(tmp_path, version=2, bias=500.0)  # everything is dark
    picture = tmp_path / "bright.png"
    picture.write_bytes(png(np.full((4, 4), 250, np.uint8)))

    def label(*arguments):
        return run("predict", "brightness", picture, "--top-k", 1, "--models-dir", tmp_path, *arguments).stdout.split()[
            1
        ]

    assert label() == "dark"
    policy = tmp_path / "brightness" / "serving.json"
    for text in (
        '{"version_labels": {"stable": 1, "canary": 2}}',
        '{"version_policy": {"specific": {"versions": [1]}}}',
    ):
        policy.write_text(text)
        assert label() == "bright"
        assert label("--version", 2) == "dark"
    policy.write_text('{"version_labels": {"stable": 1, "canary": 2}}')
    listed = run("models", "--models-dir", tmp_path).stdout
    assert "version 1 (stable, serving)" in listed
    assert "version 2 (canary)" in listed
    policy.write_text('{"version_labels": 1}')
    result = run("models", "--models-dir", tmp_path)
    assert (result.returncode, "serving.json: version_labels is 1" in result.stderr) == (0, True)
    assert run("predict", "brightness", picture, "--models-dir", tmp_path).returncode == 2
