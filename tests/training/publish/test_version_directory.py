import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.contract.manifest import verify_manifest, write_manifest
from training.publish.version_directory import TEMPORARY_PREFIX, add_version

# Writes one version. It reports the step that its command line names, and waits to be killed.
WRITER = """
import os, sys, time
from pathlib import Path
import training.publish.version_directory as v
from app.contract.manifest import write_manifest

parent, stop = Path(sys.argv[1]), sys.argv[2]

def reached(step):
    if step == stop:
        print(step, flush=True)
        time.sleep(60)

def write(directory):
    reached("empty")
    (directory / "model.json").write_text("{}" * 1000)
    reached("half")
    (directory / "variables").mkdir()
    (directory / "variables" / "data").write_text("x" * 1000)
    write_manifest(directory)
    reached("whole")

rename, replace = os.rename, os.replace
def late_rename(*names):
    reached("before-rename")
    rename(*names)
    reached("after-rename")
def late_replace(*names):
    reached("before-config")
    replace(*names)
    reached("after-config")
os.rename, os.replace = late_rename, late_replace
print(v.add_version(parent, write=write, model_files={"config.pbtxt": "new"}), flush=True)
"""

STEPS = ("empty", "half", "whole", "before-rename", "after-rename", "before-config", "after-config")


def start(parent, stop="never"):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(parent), stop], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


def write_small(directory):
    (directory / "model.json").write_text("{}")
    write_manifest(directory)


def integers(parent):
    return sorted(int(path.name) for path in parent.iterdir() if path.name.isdecimal())


def test_versions_count_up_from_the_highest_there_is(tmp_path):
    parent = tmp_path / "m"
    assert add_version(parent, write=write_small, model_files={}) == parent / "1"
    (parent / "1").rename(parent / "41")
    assert add_version(parent, write=write_small, model_files={"config.pbtxt": "text"}) == parent / "42"
    assert sorted(path.name for path in parent.iterdir()) == ["41", "42", "config.pbtxt"]
    assert (parent / "config.pbtxt").read_text() == "text"


@pytest.mark.parametrize(("there", "next_one"), [("00000123", "124"), ("0", "1")])
def test_the_next_version_after_one_that_another_tool_named_has_no_leading_zeros(tmp_path, there, next_one):
    (tmp_path / there).mkdir()
    assert add_version(tmp_path, write=write_small, model_files={}).name == next_one


def test_a_file_whose_name_is_a_number_is_not_written_over(tmp_path):
    (tmp_path / "7").write_text("not a version")
    assert add_version(tmp_path, write=write_small, model_files={}).name == "8"
    assert (tmp_path / "7").read_text() == "not a version"


def test_files_and_directories_are_readable_by_other_users_with_any_umask(tmp_path):
    def write(directory):
        (directory / "variables").mkdir(mode=0o700)
        (directory / "variables" / "data").write_text("x")
        (directory / "variables" / "data").chmod(0o600)

    before = os.umask(0o077)
    try:
        version = add_version(tmp_path / "m", write=write, model_files={"config.pbtxt": ""})
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (version, *version.rglob("*"))}
    assert modes == {"1": 0o755, "variables": 0o755, "data": 0o644}
    assert (version.parent / "config.pbtxt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_writer_that_gives_up_changes_no_file(tmp_path, failure):
    parent = tmp_path / "m"

    def fail(directory):
        (directory / "model.json").write_text("{}")
        raise failure

    with pytest.raises(type(failure)):
        add_version(parent, write=fail, model_files={"config.pbtxt": "new"})
    assert not parent.exists()
    add_version(parent, write=write_small, model_files={"config.pbtxt": "old"})
    with pytest.raises(type(failure)):
        add_version(parent, write=fail, model_files={"config.pbtxt": "new"})
    assert sorted(path.name for path in parent.iterdir()) == ["1", "config.pbtxt"]
    assert (parent / "config.pbtxt").read_text() == "old"


@pytest.mark.parametrize("step", STEPS)
def test_kill_9_leaves_no_version_or_a_complete_one_and_the_next_writer_cleans_up(tmp_path, step):
    parent = tmp_path / "m"
    writer = start(parent, step)
    assert writer.stdout.readline().strip() == step
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    there = integers(parent)
    assert there == ([1] if step in STEPS[4:] else [])
    for number in there:
        verify_manifest(parent / str(number))
    leavings = [path.name for path in parent.iterdir() if path.name.startswith(TEMPORARY_PREFIX)]
    assert len(leavings) == 1
    add_version(parent, write=write_small, model_files={"config.pbtxt": "newer"})
    assert sorted(path.name for path in parent.iterdir()) == [str(n) for n in range(1, len(there) + 2)] + [
        "config.pbtxt"
    ]


def test_the_temporary_directory_of_a_living_writer_is_left_alone(tmp_path):
    parent = tmp_path / "m"
    writer = start(parent, "half")
    assert writer.stdout.readline().strip() == "half"
    assert add_version(parent, write=write_small, model_files={}).name == "1"
    leavings = [path for path in parent.iterdir() if path.name.startswith(TEMPORARY_PREFIX)]
    assert [(path / "version" / "model.json").is_file() for path in leavings] == [True]
    writer.kill()
    writer.wait()
    writer.stdout.close()


def test_parallel_writers_get_different_numbers(tmp_path):
    parent = tmp_path / "m"
    writers = [start(parent) for _ in range(6)]
    numbers = sorted(int(Path(writer.communicate()[0].strip()).name) for writer in writers)
    assert numbers == [1, 2, 3, 4, 5, 6] == integers(parent)
    for number in numbers:
        verify_manifest(parent / str(number))
    assert {path.name for path in parent.iterdir()} == {*map(str, numbers), "config.pbtxt"}


def test_an_empty_directory_created_under_the_number_is_not_mistaken_for_a_version(tmp_path):
    def write(directory):
        write_small(directory)
        (tmp_path / "3").mkdir()

    assert add_version(tmp_path, write=write, model_files={}).name == "4"
