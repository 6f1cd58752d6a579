"""Private copies: other users cannot read them, and they are removed however their process ends."""

import hashlib
import os
import subprocess
import sys
import tracemalloc

import pytest

from app.contract.files.private import copy_verified, private_directory, sweep
from app.contract.files.regular import open_regular
from app.errors import VersionRefused
from tests.support.service import ROOT

HOLDS_ONE = """
import sys, time
from pathlib import Path
from app.contract.files.private import private_directory
with private_directory(Path(sys.argv[1])) as directory:
    (directory / "copy").write_text("of a model")
    print(directory, flush=True)
    time.sleep(600)
"""


def test_a_private_directory_belongs_to_its_owner_and_is_removed_after_use(tmp_path):
    def use_and_fail():
        with private_directory(tmp_path) as directory:
            assert directory.stat().st_mode & 0o777 == 0o700
            (directory / "below").mkdir()
            (directory / "below" / "copy").write_text("of a model")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed_and_directories_in_use_or_of_others_are_kept(tmp_path):
    (tmp_path / ".atelier-load-file").write_text("no directory")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".atelier-load-link").symlink_to("elsewhere")
    command = [sys.executable, "-c", HOLDS_ONE, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        left = process.stdout.readline().strip()
        sweep(tmp_path)
        assert os.path.exists(f"{left}/copy"), "it is in use"
        process.kill()
    assert os.path.exists(f"{left}/copy")
    sweep(tmp_path)
    assert not os.path.exists(left)
    assert {path.name for path in tmp_path.iterdir()} == {".atelier-load-file", ".atelier-load-link", "elsewhere"}
    sweep(tmp_path / "nowhere")


def test_a_copy_contains_the_hashed_bytes_and_takes_one_buffer_of_memory(tmp_path):
    content = os.urandom(16 * 2**20)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    stated = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    tracemalloc.start()
    try:
        copy_verified(source, target, opener=open_regular, **stated)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert target.read_bytes() == content
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(VersionRefused, match=r"sha256 .*, the manifest says"):
        copy_verified(source, tmp_path / "other", opener=open_regular, size=len(content), sha256="0" * 64)
    with pytest.raises(VersionRefused, match="16777216 bytes, the manifest says 1"):
        copy_verified(source, tmp_path / "third", opener=open_regular, size=1, sha256="0" * 64)
