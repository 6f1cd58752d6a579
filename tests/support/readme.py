"""README.md as commands and the output it promises."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


@dataclass(frozen=True)
class Command:
    """One ``$`` line of the README and what it prints there."""

    line: str
    output: str


def commands(path: Path = ROOT / "README.md") -> list[Command]:
    """Every command of the console blocks, in order."""
    found = []
    for language, text in _BLOCK.findall(path.read_text(encoding="utf-8")):
        if language == "console":
            for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
                line, _, output = part.partition("\n")
                found.append(Command(line, output.strip()))
    return found


def code(language: str, path: Path = ROOT / "README.md") -> list[str]:
    """Contents of the blocks in a language."""
    return [text for found, text in _BLOCK.findall(path.read_text(encoding="utf-8")) if found == language]


def agree(printed: str, promised: str, *, tolerance: float) -> bool:
    """Whether two outputs are equal, save for numbers with a fraction that differ by at most ``tolerance``."""
    if _NUMBER.sub("#", printed.strip()) != _NUMBER.sub("#", promised.strip()):
        return False
    pairs = zip(_NUMBER.findall(printed), _NUMBER.findall(promised), strict=True)
    return all(abs(float(a) - float(b)) <= tolerance for a, b in pairs)
