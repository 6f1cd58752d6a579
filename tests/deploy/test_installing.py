"""What `make serve` shows while pip installs; pip itself is replaced by what it prints."""

import sys

import pytest

from deploy import installing

LOCK = """anyio==4.16.0 \\
    --hash=sha256:00
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:00
uvicorn[standard]==0.54.0
"""
SAID = """Ignoring colorama: markers 'sys_platform == "win32"' don't match your environment
Collecting anyio==4.16.0 (from -r requirements/serve.txt (line 1))
  Downloading anyio-4.16.0-py3-none-any.whl (100 kB)
Processing /wheels/uvicorn-0.54.0-py3-none-any.whl
Installing collected packages: uvicorn, anyio
Successfully installed anyio-4.16.0 uvicorn-0.54.0
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Runs the command with a pip that prints a text and ends with a code."""

    def run(said, code=0):
        lock = tmp_path / "lock.txt"
        lock.write_text(LOCK)
        pip = tmp_path / "pip"
        pip.write_text(f"#!{sys.executable}\nprint({said!r}, end='')\nraise SystemExit({code})\n")
        pip.chmod(0o755)
        monkeypatch.setattr(installing.sys, "executable", str(pip))
        return installing.main("--require-hashes", "-r", str(lock))

    return run


def test_it_counts_the_packages_of_this_system_and_says_how_long_it_took(install, capsys):
    assert install(SAID) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["  package 1 of 2: anyio", "  package 2 of 2: uvicorn"]
    assert lines[2].startswith("  downloaded after ")
    assert lines[3].startswith("  2 packages installed in ")
    assert len(lines) == 4


def test_what_was_there_is_named(install, capsys):
    install("Requirement already satisfied: anyio==4.16.0 in /x (1)\n")
    assert capsys.readouterr().out.splitlines()[-1].endswith(" s; 1 were there")


def test_if_pip_fails_its_words_and_its_exit_code_are_kept(install, capsys):
    assert install("ERROR: No matching distribution found for anyio\n", code=3) == 3
    assert capsys.readouterr().out == "ERROR: No matching distribution found for anyio\n"
