"""Models at a URL: a web server and an S3-compatible server (moto), both real, are copied and followed."""

import os
import re
import shutil
import subprocess

import pytest
import s3fs

from app.contract.manifest import write_manifest
from tests.support.commands import run
from tests.support.hub import hub
from tests.support.model_state import serving
from tests.support.mounts import needs_mount, on_small_disk
from tests.support.service import ROOT, wait_until
from tests.support.tiny_inputs import PIXELS
from tests.support.tiny_models import write_brightness_model, write_words_model
from tests.support.web_directory import web_directory

BODY = {"instances": PIXELS.tolist()}
MOTO = ROOT / "build/moto-venv/bin/moto_server"
S3 = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def published(tmp_path):
    directory = tmp_path / "published"
    write_brightness_model(directory)
    write_words_model(directory)
    return directory


@pytest.fixture
def web(published):
    with web_directory(published) as server:
        yield server


@pytest.fixture
def settings(tmp_path):
    """The directory of the copies, and a look every second."""
    return {"ATELIER_MIRROR_DIR": str(tmp_path / "mirror"), "ATELIER_MIRROR_EVERY_S": "1"}


def answer(service, path="/v1/models/brightness:predict"):
    return service.client.post(path, json=BODY)


def test_models_of_a_web_server_are_served_and_followed(start, web, published, settings):
    service = start(None, "--models-dir", web.url, environment=settings)
    first = answer(service)
    assert first.status_code == 200
    write_brightness_model(published, version=2, bias=200)
    wait_until(lambda: serving(service) == ["2"])
    assert answer(service).json() != first.json()
    (published / "brightness/serving.json").write_text(
        '{"version_policy": {"all": true}, "version_labels": {"stable": 1}}'
    )
    wait_until(lambda: answer(service).content == first.content)
    shutil.rmtree(published / "brightness/2")
    wait_until(lambda: serving(service) == ["1"])
    copied_at = service.metric("atelier_mirror_last_success_timestamp_seconds")
    wait_until(lambda: service.metric("atelier_mirror_last_success_timestamp_seconds") > copied_at > 0)


def test_a_version_that_is_being_uploaded_is_not_served(start, web, published, settings, source):
    service = start(None, "--models-dir", web.url, environment=settings)
    staged = write_brightness_model(source, version=2, bias=200)
    there = published / "brightness/2"
    there.mkdir()
    for name in ("manifest.json", "model.json", "golden.npz"):
        shutil.copy(staged / name, there)
    service.wait_for_log("brightness/2", also="is in the manifest but not there yet")
    assert serving(service) == ["1"]
    shutil.copytree(staged, there, dirs_exist_ok=True)
    wait_until(lambda: serving(service) == ["2"])


def test_without_a_copy_the_service_waits_for_the_storage_and_says_so(start, web, settings):
    web.stop()
    service = start(None, "--models-dir", web.url, wait_ready=False, environment=settings)
    service.wait_for_log("models cannot be copied")
    reply = service.client.get("/v2/health/ready")
    assert reply.status_code == 503
    assert f"models are being copied from {web.url}: {web.url}: " in reply.text
    assert service.client.get("/v2/health/live").status_code == 200
    web.start()
    service.wait_until_ready()
    assert answer(service).status_code == 200
    service.wait_for_log("can be read again")


def test_with_a_copy_the_service_starts_and_goes_on_without_the_storage(start, web, settings):
    first = start(None, "--models-dir", web.url, environment=settings)
    expected = answer(first).content
    web.stop()
    first.wait_for_log("models cannot be copied", also="the copy of an earlier look is served")
    assert answer(first).content == expected
    assert first.stop() == 0
    second = start(None, "--models-dir", web.url, environment=settings)
    assert answer(second).content == expected
    second.wait_for_log("the copy of an earlier look is served")


def test_with_a_copy_a_storage_that_does_not_answer_delays_the_start_by_seconds(start, web, settings):
    assert run("models", "--models-dir", web.url, **settings).returncode == 0
    web.answers.clear()
    service = start(None, "--models-dir", web.url, environment=settings)
    assert answer(service).status_code == 200
    assert service.stop() == 0
    web.answers.set()


def test_a_service_that_waits_for_its_models_stops_at_once(start, web, settings):
    web.stop()
    service = start(None, "--models-dir", web.url, wait_ready=False, environment=settings)
    service.wait_for_log("models cannot be copied")
    assert service.stop() == 0


@needs_mount
def test_a_version_that_does_not_fit_on_the_disk_does_not_hold_up_the_others(start, web, published, settings, tmp_path):
    directory = tmp_path / "mirror"
    directory.mkdir()
    through = on_small_disk(directory, size="600k")
    service = start(None, "--models-dir", web.url, environment=settings, through=through)
    large = write_brightness_model(published, version=2)
    (large / "more").write_bytes(bytes(1_000_000))
    (large / "manifest.json").unlink()
    write_manifest(large)
    service.wait_for_log("brightness/2 is not copied", also="No space left on device")
    write_words_model(published, version=2)
    wait_until(lambda: serving(service, "words") == ["2"])
    shutil.rmtree(large)
    copied_at = service.metric("atelier_mirror_last_success_timestamp_seconds")
    wait_until(lambda: service.metric("atelier_mirror_last_success_timestamp_seconds") > copied_at)


def test_a_page_without_an_end_and_one_that_may_not_be_read_are_failures(start, web, settings):
    web.endless.set()
    service = start(None, "--models-dir", web.url, wait_ready=False, environment=settings)
    service.wait_for_log("models cannot be copied", also="lists more than 4194304 bytes")
    web.endless.clear()
    service.wait_until_ready()
    assert sorted(service.client.get("/v1/models").json()["models"]) == ["brightness", "words"]


def test_promotions_are_made_where_the_models_are(start, web, published, settings):
    write_brightness_model(published, version=2)
    service = start(None, "--models-dir", web.url, environment=settings)
    reply = service.client.post("/v2/repository/models/brightness/promote", json={"version": 1})
    assert reply.status_code == 403
    assert f"is a copy from {web.url}; change it there" in reply.json()["error"]
    done = run("promote", "brightness", "1", "--models-dir", web.url, **settings)
    assert done.returncode == 2
    assert f"is a copy from {web.url}; change it there" in done.stderr
    assert serving(service) == ["2"]


def test_workers_look_at_the_storage_one_at_a_time(start, web, settings):
    service = start(None, "--workers", "2", "--models-dir", web.url, environment=settings)
    assert answer(service).status_code == 200
    downloads = [path for path in web.asked if path.endswith("/model.onnx")]
    assert sorted(downloads) == ["/brightness/1/model.onnx", "/words/1/model.onnx"]
    assert service.metric("atelier_mirror_last_success_timestamp_seconds") > 0


def test_commands_copy_first_and_go_on_with_an_earlier_copy(web, settings):
    listed = run("models", "--models-dir", web.url, **settings)
    assert listed.returncode == 0, listed.stderr
    assert "brightness, version 1" in listed.stdout
    web.stop()
    again = run("models", "--models-dir", web.url, **settings)
    assert again.stdout == listed.stdout
    assert "this is the copy of an earlier look" in " ".join(again.stderr.split())
    nothing = run("models", "--models-dir", f"{web.url}/other", **settings)
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: models cannot be copied: ")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://host/models", "ftp:// is not supported; a models directory is a path, or one of s3://"),
        ("https://me:secret@host/models", "a URL of models may not have a name or password"),
    ],
)
def test_a_url_that_cannot_be_used_ends_the_start_in_one_sentence(url, reason):
    done = run("serve", "--models-dir", url)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "secret" not in done.stderr


def test_the_package_of_google_cloud_is_named_by_itself():
    done = run("models", "--models-dir", "gs://bucket/models")
    assert "gs:// requires packages that are not installed (gcsfs): pip install gcsfs" in done.stderr


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path):
    (tmp_path / "s3fs.py").write_text("raise ImportError('not installed')")
    done = run("models", "--models-dir", "s3://bucket/models", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert (
        "s3:// requires packages that are not installed (s3fs): pip install -r requirements/remote.txt" in done.stderr
    )


def test_models_of_a_repository_of_the_hub_are_served_and_followed(start, published, settings, tmp_path):
    with hub(published) as (url, asked):
        environment = {**settings, "HF_ENDPOINT": url, "HOME": str(tmp_path / "home")}
        service = start(None, "--models-dir", "hf://owner/repo", environment=environment)
        first = answer(service)
        assert first.status_code == 200
        write_brightness_model(published, version=2, bias=200)
        wait_until(lambda: serving(service) == ["2"])
        assert service.stop() == 0
    assert not [path for path in asked if "owner/repo" not in path]
    assert not (tmp_path / "home/.cache/huggingface").exists()


@pytest.fixture(scope="module")
def s3_url():
    """The address of moto's server, which speaks S3."""
    server = subprocess.Popen(
        [MOTO, "-H", "127.0.0.1", "-p", "0"], stderr=subprocess.PIPE, text=True, env={**os.environ, **S3}
    )
    try:
        found = None
        while found is None:
            line = server.stderr.readline()
            assert line, "the S3 server ended"
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
        yield found[0]
    finally:
        server.terminate()
        server.wait(10)
        server.stderr.close()


def bucket_of(s3_url: str) -> s3fs.S3FileSystem:
    credentials = {"key": S3["AWS_ACCESS_KEY_ID"], "secret": S3["AWS_SECRET_ACCESS_KEY"]}
    return s3fs.S3FileSystem(**credentials, endpoint_url=s3_url, skip_instance_cache=True, use_listings_cache=False)


def test_models_of_an_s3_bucket_are_served_and_followed(start, s3_url, published, settings, source):
    bucket = bucket_of(s3_url)
    bucket.mkdir("bucket")
    bucket.put(f"{published}/", "bucket/models/", recursive=True)
    environment = {**settings, **S3, "AWS_ENDPOINT_URL": s3_url}
    service = start(None, "--models-dir", "s3://bucket/models", environment=environment)
    first = answer(service)
    assert first.status_code == 200
    staged = write_brightness_model(source, version=2, bias=200)
    model = staged / "model.onnx"
    right = model.read_bytes()
    model.write_bytes(right[::-1])
    bucket.put(f"{staged}/", "bucket/models/brightness/2/", recursive=True)
    service.wait_for_log("brightness/2", also="the manifest says")
    assert answer(service).content == first.content
    model.write_bytes(right)
    bucket.put(f"{staged}/", "bucket/models/brightness/2/", recursive=True)
    wait_until(lambda: serving(service) == ["2"])
    bucket.rm("bucket/models/brightness/2/manifest.json")
    copied_at = service.metric("atelier_mirror_last_success_timestamp_seconds")
    wait_until(lambda: service.metric("atelier_mirror_last_success_timestamp_seconds") > copied_at)
    assert serving(service) == ["2"]


def test_a_bucket_that_does_not_exist_is_named(s3_url, settings):
    environment = {**settings, **S3, "AWS_ENDPOINT_URL": s3_url}
    done = run("models", "--models-dir", "s3://missing/models", **environment)
    assert done.returncode == 2
    assert "models cannot be copied: s3://missing/models" in " ".join(done.stderr.split())
