"""manifest.json lists the files of a version, and only those."""

import json

import pytest

from app.contract.manifest import verify_manifest, write_manifest
from app.errors import VersionRefused


def test_a_manifest_covers_every_file_below_the_directory(version):
    (version / "variables").mkdir()
    (version / "variables" / "weights").write_bytes(b"1234")
    write_manifest(version)
    verify_manifest(version)
    (version / "variables" / "weights").write_bytes(b"1235")
    with pytest.raises(VersionRefused, match="weights: sha256"):
        verify_manifest(version)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"files": {"model.json": {"size": 1}}}', '{"files": {}, "x": 1}'])
def test_a_broken_manifest_is_refused(version, content):
    (version / "manifest.json").write_text(content)
    with pytest.raises(VersionRefused, match=r"manifest\.json"):
        verify_manifest(version)


@pytest.mark.parametrize("name", ["../model.json", "/etc/passwd", "a/../b", "", ".", "a//b", "./a"])
def test_a_manifest_names_files_inside_the_version_alone(version, name):
    document = json.loads((version / "manifest.json").read_text())
    document["files"][name] = {"size": 1, "sha256": "0" * 64}
    (version / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(VersionRefused, match="is not the path of a file inside the version"):
        verify_manifest(version)
