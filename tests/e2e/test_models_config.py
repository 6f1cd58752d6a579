"""Models outside the models directory: --model-config-file, and --model-name with --model-base-path."""

import re
import subprocess
import sys

import pytest

from tests.support.bare_models import bare
from tests.support.named_models import LABELS, NamedService, config, default, write_store
from tests.support.service import ROOT, own_environment, start_fixture, wait_until
from tests.support.tiny_inputs import PIXELS
from tests.support.tiny_models import write_brightness_model

start = start_fixture(NamedService)


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path, versions=(1, 2, 3))


def ask(service, path="rule"):
    reply = service.client.post(f"/v1/models/{path}:predict", json={"instances": [[1]]})
    return reply.json().get("predictions", reply.status_code)


def test_names_policies_and_labels_are_followed(store, tmp_path, start):
    file = tmp_path / "models.config"
    file.write_text(config(store, more=LABELS))
    service = start("--model-config-file", str(file))
    assert service.client.get("/v1/models").json() == {"models": ["rule"]}
    assert default(service) == "1"
    assert ask(service, "rule/labels/candidate") == ask(service, "rule/versions/2") == [[1]]
    assert ask(service, "rule/labels/none") == 404
    assert service.client.get("/v1/models/rule/labels/candidate").json()["model_version_status"][0]["version"] == "2"


def test_a_named_model_without_a_version_is_in_the_log(store, tmp_path, start):
    (tmp_path / "later").mkdir()
    file = tmp_path / "models.config"
    text = config(store)
    file.write_text(text[: text.rindex("}")] + f' config {{ name: "later" base_path: "{tmp_path}/later" }} }}')
    service = start("--model-config-file", str(file))
    service.wait_for_log("not served, because they have no version: later; ")
    bare(tmp_path, store / "1", name="later", version=1)
    wait_until(lambda: ask(service, "later") == [[1]])


def test_a_published_version_is_served_under_the_name_that_is_stated_with_its_path(tmp_path, start):
    write_brightness_model(tmp_path)
    service = start("--model-name", "other", "--model-base-path", str(tmp_path / "brightness"))
    assert service.client.get("/v1/models").json() == {"models": ["other"]}
    reply = service.client.post("/v1/models/other:predict", json={"instances": PIXELS.tolist()})
    assert reply.status_code == 200
    assert service.client.get("/v2/models/other").json()["name"] == "other"
    assert service.client.post("/v1/models/brightness:predict", json={}).status_code == 404


def test_a_field_without_effect_is_one_line_of_the_log(store, tmp_path, start):
    file = tmp_path / "models.config"
    file.write_text(config(store, more="logging_config { }"))
    service = start("--model-config-file", str(file))
    service.wait_for_log("logging_config has no effect", also="WARNING")
    assert service.log.count("logging_config has no effect") == 1


def test_a_changed_file_is_followed(store, tmp_path, start):
    file = tmp_path / "models.config"
    file.write_text(config(store))
    service = start("--model-config-file", str(file))
    assert default(service) == "3"
    file.write_text(config(store, more="model_version_policy { specific { versions: 2 } }"))
    wait_until(lambda: default(service) == "2")
    file.write_text("nonsense")
    service.wait_for_log("the last valid list of models stays in effect")
    assert default(service) == "2"
    text = config(store, more=LABELS)
    file.write_text(text[: text.rindex("}")] + f' config {{ name: "again" base_path: "{store}" }} }}')
    wait_until(lambda: ask(service, "again") == [[1]] and default(service) == "1")


def test_a_new_version_at_a_base_path_is_followed(store, tmp_path, start):
    file = tmp_path / "models.config"
    file.write_text(config(store))
    service = start("--model-config-file", str(file))
    bare(store.parent, store / "1", name=store.name, version=4)
    wait_until(lambda: default(service) == "4")


def test_promotions_are_written_next_to_the_versions_and_count_more(store, tmp_path, start):
    file = tmp_path / "models.config"
    file.write_text(config(store, more=LABELS))
    service = start("--model-config-file", str(file))
    reply = service.client.post("/v2/repository/models/rule/promote", json={"version": 2})
    assert reply.status_code == 200, reply.text
    assert default(service) == "2"
    assert (store / "serving.json").exists()
    assert service.client.get("/v1/models/rule/labels/candidate").json()["model_version_status"][0]["version"] == "2"
    assert service.client.post("/v2/repository/models/rule/rollback").status_code == 200
    assert default(service) == "1"


def test_workers_serve_the_named_models(store, tmp_path, start):
    file = tmp_path / "models.config"
    file.write_text(config(store))
    service = start("--model-config-file", str(file), "--workers", "2")
    assert service.client.get("/v1/models").json() == {"models": ["rule"]}
    assert service.client.post("/v2/repository/models/rule/promote", json={"version": 2}).status_code == 200
    wait_until(lambda: default(service) == "2")


def test_a_models_directory_that_is_given_counts_as_well(store, tmp_path, start):
    write_brightness_model(tmp_path / "models")
    write_brightness_model(tmp_path / "models", name="rule")
    file = tmp_path / "models.config"
    file.write_text(config(store))
    service = start("--model-config-file", str(file), "--models-dir", str(tmp_path / "models"))
    assert sorted(service.client.get("/v1/models").json()["models"]) == ["brightness", "rule"]
    assert ask(service) == [[1]]
    service.wait_for_log(f"model rule: {store} counts, and {tmp_path / 'models' / 'rule'} does not")


def test_one_model_is_named_on_the_command_line(store, start):
    service = start("--model-name", "half plus two", "--model-base-path", str(store))
    assert ask(service, "half plus two") == [[1]]
    index = service.client.post("/v2/repository/index").json()
    assert {each["reason"].partition(":")[0] for each in index if each["state"] == "READY"} == {"unverified"}
    assert service.client.get("/v1/models/other").status_code == 404


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-name", "a"], "--model-name and --model-base-path belong together; give both"),
        (["--model-base-path", "/tmp"], "--model-name and --model-base-path belong together; give both"),
        (["--model-name", "a", "--model-base-path", "models"], "base_path 'models' is not an absolute path"),
        (
            ["--model-name", "a", "--model-base-path", "/none"],
            "base_path '/none' does not exist, or is not a directory",
        ),
        (
            ["--model-name", "../a", "--model-base-path", "/tmp"],
            "model '../a': a name has ASCII letters, digits, spaces",
        ),
        (["--model-config-file", "/none"], "/none: No such file or directory"),
        (
            ["--model-config-file", "/none", "--model-name", "a", "--model-base-path", "/tmp"],
            "--model-config-file names all models; give it or --model-name, not both",
        ),
    ],
)
def test_a_mistake_ends_the_start_with_one_sentence(arguments, message):
    command = [sys.executable, "-m", "app", "serve", "--port", "0", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=own_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr
