"""The copy of a models directory, against a real web server or a storage that lies."""

import fcntl
import hashlib
import json
import os
import shutil

import pytest

from app.contract.manifest import verify_manifest, write_manifest
from app.errors import Forbidden
from app.mirror.location import Location
from app.mirror.mirror import Mirror
from app.mirror.remote import FsspecRemote, Listed, Unreachable
from app.repository.copies import origin
from app.repository.repository import Repository
from tests.support.tiny_models import write_brightness_model, write_words_model
from tests.support.web_directory import web_directory


@pytest.fixture
def origin_dir(tmp_path):
    directory = tmp_path / "origin"
    write_brightness_model(directory)
    write_words_model(directory)
    return directory


@pytest.fixture
def web(origin_dir):
    with web_directory(origin_dir) as server:
        yield server


@pytest.fixture
def mirror(web, tmp_path):
    return mirror_of(web, tmp_path / "copy")


def mirror_of(web, directory):
    location = Location.parse(web.url)
    return Mirror(location, FsspecRemote(location), directory)


def files_below(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    }


def test_every_file_of_every_version_is_copied(mirror, origin_dir):
    write_brightness_model(origin_dir, version=2, bias=1)
    (origin_dir / "brightness/serving.json").write_text('{"versions": 2}')
    (origin_dir / "README.md").write_text("not a model")
    assert mirror.copy().versions == 3
    there = files_below(origin_dir)
    del there["README.md"]
    assert files_below(mirror.directory) == there
    assert origin(mirror.directory) == mirror.location.url


def test_a_second_look_reads_the_manifests_alone(mirror, web):
    mirror.copy()
    web.asked.clear()
    assert mirror.copy().versions == 0
    files = [path for path in web.asked if not path.endswith("/")]
    assert sorted(files) == ["/brightness/1/manifest.json", "/words/1/manifest.json"]


def test_nothing_outside_of_the_url_is_asked_for(mirror, web, origin_dir):
    mirror.location = Location.parse(f"{web.url}/brightness")
    mirror._remote = FsspecRemote(mirror.location)
    with pytest.raises(Unreachable, match="has no MODEL/VERSION/ in it"):
        mirror.copy()
    assert all(path.startswith("/brightness/") for path in web.asked)


def test_a_version_with_a_missing_file_is_not_copied_until_it_is_complete(mirror, origin_dir, caplog):
    staged = write_brightness_model(origin_dir / ".staged", version=2, bias=1)
    there = origin_dir / "brightness/2"
    there.mkdir()
    for name in ("manifest.json", "model.json"):
        shutil.copy(staged / name, there)
    mirror.copy()
    assert not (mirror.directory / "brightness/2").exists()
    assert "brightness/2 at" in caplog.text
    assert "is in the manifest but not there yet" in caplog.text
    shutil.copytree(staged, there, dirs_exist_ok=True)
    mirror.copy()
    verify_manifest(mirror.directory / "brightness/2")


@pytest.mark.parametrize("content", [b"", b"half of it", b"x" * 100_000])
def test_a_file_of_another_size_or_content_is_not_served(mirror, origin_dir, content):
    there = write_brightness_model(origin_dir, version=2, bias=1)
    right = (there / "model.onnx").read_bytes()
    (there / "model.onnx").write_bytes(content)
    mirror.copy()
    assert not (mirror.directory / "brightness/2").exists()
    (there / "model.onnx").write_bytes(right[::-1])
    mirror.copy()
    assert not (mirror.directory / "brightness/2").exists()
    (there / "model.onnx").write_bytes(right)
    assert mirror.copy().versions == 1
    verify_manifest(mirror.directory / "brightness/2")


def test_a_copy_that_was_interrupted_goes_on_with_the_files_that_are_right(mirror, web, origin_dir):
    there = write_brightness_model(origin_dir, version=2, bias=1)
    right = (there / "model.onnx").read_bytes()
    (there / "model.onnx").write_bytes(right[::-1])
    mirror.copy()
    (there / "model.onnx").write_bytes(right)
    web.asked.clear()
    mirror.copy()
    read = [path for path in web.asked if path.startswith("/brightness/2/") and not path.endswith("/")]
    assert read == ["/brightness/2/manifest.json", "/brightness/2/model.onnx"]
    verify_manifest(mirror.directory / "brightness/2")


def test_a_damaged_copy_is_repaired_at_the_next_start(mirror, web, tmp_path):
    mirror.copy()
    (mirror.directory / "brightness/1/model.onnx").write_bytes(b"damaged")
    assert mirror_of(web, tmp_path / "copy").copy().versions == 1
    verify_manifest(mirror.directory / "brightness/1")


def test_a_version_that_was_replaced_is_copied_again(mirror, origin_dir):
    mirror.copy()
    shutil.rmtree(origin_dir / "brightness/1")
    write_brightness_model(origin_dir, bias=3)
    assert mirror.copy().versions == 1
    assert files_below(mirror.directory) == files_below(origin_dir)


def test_what_is_removed_there_is_removed_here(mirror, origin_dir):
    write_brightness_model(origin_dir, version=2)
    mirror.copy()
    shutil.rmtree(origin_dir / "brightness/1")
    shutil.rmtree(origin_dir / "words")
    mirror.copy()
    mirror.copy()
    assert files_below(mirror.directory) == files_below(origin_dir)
    assert not (mirror.directory / "words").exists()


def test_a_page_that_lists_too_little_for_one_look_removes_nothing(mirror, origin_dir, tmp_path):
    mirror.copy()
    before = files_below(mirror.directory)
    for _ in range(3):
        (origin_dir / "words").rename(tmp_path / "away")
        mirror.copy()
        (tmp_path / "away").rename(origin_dir / "words")
        mirror.copy()
    assert files_below(mirror.directory) == before


def test_a_partial_copy_of_a_version_that_is_gone_is_removed(mirror, origin_dir):
    there = write_brightness_model(origin_dir, version=2)
    (there / "model.onnx").write_bytes((there / "model.onnx").read_bytes()[::-1])
    mirror.copy()
    assert (mirror.directory / "brightness/.2.partial").is_dir()
    shutil.rmtree(there)
    mirror.copy()
    assert sorted(each.name for each in (mirror.directory / "brightness").iterdir()) == ["1"]


def test_a_storage_that_fails_or_is_empty_removes_nothing(mirror, web, origin_dir):
    mirror.copy()
    before = files_below(mirror.directory)
    web.stop()
    with pytest.raises(Unreachable, match="http://127"):
        mirror.copy()
    web.start()
    for name in ("brightness", "words"):
        shutil.rmtree(origin_dir / name)
    with pytest.raises(Unreachable, match="has no MODEL/VERSION/ in it"):
        mirror.copy()
    assert files_below(mirror.directory) == before


def test_a_version_whose_manifest_is_missing_for_a_moment_stays(mirror, origin_dir):
    mirror.copy()
    (origin_dir / "brightness/1/manifest.json").unlink()
    mirror.copy()
    verify_manifest(mirror.directory / "brightness/1")


def test_a_version_of_another_tool_is_named_and_not_copied(mirror, origin_dir, caplog):
    (origin_dir / "foreign/1").mkdir(parents=True)
    (origin_dir / "foreign/1/model.onnx").write_bytes(b"graph")
    mirror.copy()
    mirror.copy()
    assert not (mirror.directory / "foreign").exists()
    assert caplog.text.count("foreign/1 at") == 1
    assert "has no manifest.json; versions without one are not copied" in caplog.text


def test_a_manifest_that_leads_out_of_its_version_is_refused(mirror, origin_dir, tmp_path):
    there = write_brightness_model(origin_dir, version=2)
    manifest = json.loads((there / "manifest.json").read_text())
    manifest["files"]["../../../escaped"] = manifest["files"]["model.json"]
    (there / "manifest.json").write_text(json.dumps(manifest))
    mirror.copy()
    assert not (mirror.directory / "brightness/2").exists()
    assert not list(tmp_path.rglob("escaped"))


def test_a_name_with_spaces_and_percent_signs_is_copied(mirror, origin_dir):
    there = write_brightness_model(origin_dir, version=2)
    (there / "notes 100% ü.txt").write_text("kept")
    (there / "manifest.json").unlink()
    write_manifest(there)
    mirror.copy()
    assert files_below(mirror.directory) == files_below(origin_dir)


def test_a_halted_canary_stays_halted_until_the_file_there_changes(mirror, origin_dir):
    there = origin_dir / "brightness/serving.json"
    there.write_text('{"versions": 2}')
    mirror.copy()
    here = mirror.directory / "brightness/serving.json"
    here.write_text('{"versions": 2, "rollout": {"halted": "too many errors"}}')
    mirror.copy()
    assert "halted" in here.read_text()
    there.write_text('{"versions": 3}')
    mirror.copy()
    assert here.read_bytes() == there.read_bytes()
    there.unlink()
    mirror.copy()
    assert not here.exists()


def test_settings_of_a_copy_are_not_changed_here(mirror, origin_dir):
    write_brightness_model(origin_dir, version=2)
    mirror.copy()
    repository = Repository(mirror.directory)
    for change in (
        lambda: repository.promote("brightness", 1, default=2, versions=[2, 1]),
        lambda: repository.rollback("brightness", default=2, versions=[2, 1]),
        lambda: repository.start_canary("brightness", 2, {}, versions=[2, 1]),
        lambda: repository.stop_canary("brightness"),
    ):
        with pytest.raises(Forbidden, match=f"is a copy from {mirror.location.url}; change it there"):
            change()
    assert not (mirror.directory / "brightness/serving.json").exists()


def test_a_look_is_left_out_if_another_process_has_just_looked(web, tmp_path):
    first, second = (mirror_of(web, tmp_path / "copy") for _ in range(2))
    first.copy()
    web.asked.clear()
    second.copy()
    assert web.asked == []
    os.utime(tmp_path / "copy/.copied", (1, 1))
    second.copy()
    assert "/brightness/1/manifest.json" in web.asked


def test_a_look_ends_when_another_process_copies_for_long(mirror, monkeypatch):
    monkeypatch.setattr("app.mirror.mirror._LOCK_S", 0.1)
    mirror.directory.mkdir()
    with (mirror.directory / ".copying").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unreachable, match="another process copies into"):
            mirror.copy()
    assert mirror.copy().versions == 2


def test_a_time_in_the_future_does_not_end_the_looks(mirror, web, origin_dir):
    mirror.copy()
    os.utime(mirror.directory / ".copied", (2e9, 2e9))
    write_brightness_model(origin_dir, version=2)
    assert mirror.copy().versions == 1


@pytest.mark.parametrize(
    "files",
    [
        {"a": None, "a/b": None},  # a directory and a file of one name: possible in a bucket
        {"x" * 256: None},
    ],
)
def test_a_version_that_cannot_be_written_does_not_hold_up_the_others(tmp_path, files):
    stored = Stored({"aaa/1": files, "brightness/1": {"model.onnx": None}})
    mirror = Mirror(Location.parse("s3://bucket/models"), stored, tmp_path / "copy")
    with pytest.raises(Unreachable, match="aaa/1 is not copied: "):
        mirror.copy()
    assert (mirror.directory / "brightness/1/model.onnx").is_file()
    assert mirror.copied_at() == 0.0


def test_a_storage_that_lists_and_gives_nothing_is_a_failure(tmp_path):
    stored = Stored({"brightness/1": {"model.onnx": None}}, denied="brightness/1/manifest.json")
    mirror = Mirror(Location.parse("s3://bucket/models"), stored, tmp_path / "copy")
    with pytest.raises(Unreachable, match="brightness/1 is not copied: access is denied"):
        mirror.copy()
    assert mirror.copied_at() == 0.0


@pytest.mark.parametrize("name", ["", "models/", "/987654321/1/x", "brightness//1/x", "../1/manifest.json", "a/../1/x"])
def test_a_name_that_leads_elsewhere_makes_no_model(tmp_path, name):
    stored = Stored({"brightness/1": {"model.onnx": None}}, others=[name, f"{name}/manifest.json"])
    mirror = Mirror(Location.parse("s3://bucket/models"), stored, tmp_path / "copy")
    assert mirror.copy().versions == 1
    assert sorted(files_below(mirror.directory)) == ["brightness/1/manifest.json", "brightness/1/model.onnx"]


class Stored:
    """A storage with versions that a test states.

    Args:
        versions: MODEL/VERSION -> names of its files.
        others: further names that it lists.
        denied: the name of a file that may not be read.
    """

    def __init__(self, versions, *, others=(), denied=""):
        self._versions, self._others, self._denied = versions, others, denied

    def files(self):
        names = [f"{version}/{name}" for version, inside in self._versions.items() for name in inside]
        manifests = [f"{version}/manifest.json" for version in self._versions]
        return {name: Listed(None, None) for name in (*names, *manifests, *self._others)}

    def chunks(self, name, limit_bytes):
        if name == self._denied:
            raise Unreachable("access is denied")
        model, version, file = name.split("/", 2)
        content = b"content"
        if file == "manifest.json":
            entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            yield json.dumps({"files": dict.fromkeys(self._versions[f"{model}/{version}"], entry)}).encode()
        else:
            yield content


class Lying:
    """A storage whose files do not end."""

    def __init__(self, manifest):
        self._manifest = manifest
        self.read = 0

    def files(self):
        names = ["manifest.json", "model.onnx"]
        return {f"brightness/1/{name}": Listed(None, None) for name in names}

    def chunks(self, name, limit_bytes):
        if name.endswith("manifest.json"):
            yield self._manifest
            return
        while self.read < limit_bytes:
            self.read += 1000
            yield bytes(1000)


def test_no_more_is_read_than_the_manifest_says(tmp_path):
    entry = {"size": 5_000, "sha256": "0" * 64}
    lying = Lying(json.dumps({"files": {"model.onnx": entry}}).encode())
    mirror = Mirror(Location.parse("s3://bucket/models"), lying, tmp_path / "copy")
    mirror.copy()
    assert lying.read <= 6_000
    assert files_below(tmp_path / "copy") == {}
