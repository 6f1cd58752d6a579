"""The records of an import: metrics.json and card.md of the version."""

import datetime
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from app.contract.model_spec import ModelSpec
from training.importing.guards import size_of
from training.importing.sources.source import Source


@dataclass
class Made:
    """The result of an import.

    Attributes:
        directory: of the version.
        formats: name -> batch size -> largest difference from the answers of the model itself.
        left_out: name -> why it could not be made.
        notes: sentences about what was found.
    """

    directory: Path = Path()
    formats: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write_records(source: Source, spec: ModelSpec, made: Made, command: str, directory: Path) -> None:
    """metrics.json and card.md: the source of the model, and how it was compared."""
    imported = {
        "file": source.path.name,
        "kind": source.kind,
        "bytes": size_of(source.path),
        "sha256": sha256_of(source.path),
    }
    document = {
        "model": spec.name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": command,
        "imported": imported,
        "export": {"parity": made.formats, "left_out": made.left_out},
        "notes": made.notes,
    }
    _write(directory / "metrics.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    rows = "".join(
        f"| {name} | {max(found.values()):.3g} in batches of {', '.join(found)} |\n"
        for name, found in made.formats.items()
    )
    rows += "".join(f"| {name} | left out: {reason.replace('|', '/')} |\n" for name, reason in made.left_out.items())
    notes = "".join(f"- {note}\n" for note in made.notes)
    _write(
        directory / "card.md",
        f"# {spec.name}\n\n{spec.description}\n\nImported from `{imported['file']}` ({source.kind}, sha256 "
        f"`{imported['sha256']}`). Its accuracy is not known here.\n\n| format | largest difference from the model |\n"
        f"|---|---|\n{rows}\n{notes}\nCommand: `{command}`\n",
    )


def sha256_of(path: Path) -> str:
    """Of a file; of a directory, of the names and hashes of its files."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for each in sorted(path.rglob("*")):
        if each.is_file():
            digest.update(f"{each.relative_to(path)} {sha256_of(each)}\n".encode())
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
