"""Installs a lock with pip and shows how far it is: ``python deploy/installing.py [option of pip ...] -r LOCK``.

pip prints several lines for each package. This prints one line that counts them, on a terminal always the same one, and
at the end how many packages were installed and how long that took. What pip said is printed only if it fails.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

STEPS = 5
"""Lines about the progress where the output is no terminal."""
LAST_LINES = 30
_PACKAGE = re.compile(r"^[\w.\-]+(?:\[[\w,\-]+\])?==", re.MULTILINE)
# ``Collecting NAME==1.0 (from ...)``, ``Requirement already satisfied: NAME==1.0 in ...``, or a file.
_STARTED = re.compile(r"(?:Collecting |Requirement already satisfied: |Processing (?:.*/)?)([\w.\-]+?)(?:==|-\d|\[)")
_SKIPPED = re.compile(r"Ignoring ([\w.\-]+):")
_INSTALLED = re.compile(r"Successfully installed (.+)")


def main(*options: str) -> int:
    """The exit code of pip; ``options`` as in the head of this file."""
    text = Path(options[options.index("-r") + 1]).read_text(encoding="utf-8")
    begun, total = time.monotonic(), len(_PACKAGE.findall(text))
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    lines: list[str] = []
    done = installed = 0
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line)
            if _SKIPPED.match(line):  # for other systems
                total -= 1
            elif found := _STARTED.match(line):
                done += 1
                show(done, total, found[1])
            elif line.startswith("Installing collected packages"):
                say(f"  downloaded after {time.monotonic() - begun:.0f} s; unpacking")
            elif found := _INSTALLED.match(line):
                installed = len(found[1].split())
    if pip.returncode:
        say("".join(lines[-LAST_LINES:]).rstrip())
        return pip.returncode
    there = f"; {done - installed} were there" if installed < done else ""
    say(f"  {installed} packages installed in {time.monotonic() - begun:.0f} s{there}")
    return 0


def show(done: int, total: int, name: str) -> None:
    """Show that a package is looked for: on the same line of a terminal, elsewhere now and then."""
    text = f"  package {done} of {total}: {name}"
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text}")
        sys.stdout.flush()
    elif done % max(1, total // STEPS) == 0:
        say(text)


def say(text: str) -> None:
    """Print a line, in place of the counter of a terminal."""
    sys.stdout.write(f"\r\x1b[K{text}\n" if sys.stdout.isatty() else f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
