"""Makes every format of an imported model, compares each with the model itself, and writes the version in one step."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from app.contract.golden import Golden, magnitude
from app.contract.manifest import verify_manifest, write_manifest
from app.contract.model_spec import ONNX_FILE, ModelSpec
from app.contract.steps import TextPreprocessing
from app.types import Array
from training.disk import space_wanted
from training.errors import DiskFull, SourceRefused
from training.export.model_export import Runner, onnx_runner, saved_model_runner
from training.export.parity import ParityBroken, check_padding, check_runner, padding_tolerance
from training.importing.contract import Described
from training.importing.golden import batch_sizes, entered, golden_of
from training.importing.records import Made, write_records
from training.importing.sources.source import Source, in_short
from training.publish.triton_config import CONFIG_FILE, triton_config
from training.publish.version_directory import add_version

SAVED_MODEL, ONNX = "SavedModel", "ONNX"


def make_version(
    source: Source,
    described: Described,
    *,
    samples: Mapping[str, Array] | None,
    tolerance: float,
    command: str,
    repository: Path,
) -> Made:
    """Write the next version of an imported model.

    Args:
        source: the model.
        described: its contract.
        samples: golden inputs; None generates them.
        tolerance: largest absolute difference from the model, for answers of magnitude 1.
        command: for the record.
        repository: directory of all models.

    Raises:
        SourceRefused: no format could be made, or the model does not run with the samples.
        OSError: the disk. In every case, and on Ctrl-C, only existing versions are left behind.
    """
    made = Made()
    model_files: dict[str, str] = {}
    run = entered(source, described)
    golden = golden_of(described.spec, run, samples, tolerance, made.notes)
    sizes, spec = batch_sizes(
        described, golden, run, tolerance * magnitude(golden.outputs), made.notes, source.padding_counts
    )

    def write(directory: Path) -> None:
        _write_formats(source, described, spec, golden, sizes, tolerance, directory, made)
        spec.write(directory)
        golden.write(directory)
        if described.tokenizer is not None and isinstance(spec.preprocessing, TextPreprocessing):
            described.tokenizer.write(directory / spec.preprocessing.vocabulary)
        write_records(source, spec, made, command, directory)
        if ONNX in made.formats:
            model_files[CONFIG_FILE] = triton_config(spec)
        write_manifest(directory)
        verify_manifest(directory)
        ModelSpec.read(directory)
        Golden.read(directory)

    made.directory = add_version(repository / spec.name, write=write, model_files=model_files)
    return made


def _write_formats(
    source: Source,
    described: Described,
    spec: ModelSpec,
    golden: Golden,
    sizes: tuple[int, ...],
    tolerance: float,
    directory: Path,
    made: Made,
) -> None:
    """Make and compare both formats; keep those that agree."""
    allowed = tolerance * magnitude(golden.outputs)
    work = directory / ".formats"
    for name in (SAVED_MODEL, ONNX):
        work.mkdir()
        try:
            with space_wanted(f"the {name} of the version", "free some space, and run the command again"):
                runner = _written(name, source, spec, described, work)
            found = check_runner(name, golden, runner, tolerance=allowed, than="the model", batch_sizes=sizes)
            if golden.lengths and name == ONNX:
                check_padding(name, golden, runner, tolerance=padding_tolerance(work / ONNX_FILE))
        except (OSError, DiskFull):
            raise
        except ParityBroken as error:
            made.left_out[name] = f"{error}; a larger --tolerance accepts more"
        except Exception as error:  # noqa: BLE001 - one format fails alone, with any exception of its library
            made.left_out[name] = in_short(error).removeprefix(f"{spec.name}: ")
        else:
            made.formats[name] = found
            for path in sorted(work.iterdir()):
                path.rename(directory / path.name)
        shutil.rmtree(work)
    if not made.formats:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in made.left_out.items())
        raise SourceRefused(f"{spec.name}: no format could be made. {reasons}")


def _written(name: str, source: Source, spec: ModelSpec, described: Described, work: Path) -> Runner:
    """Write one format to a directory, and return what runs it."""
    if name == SAVED_MODEL:
        source.write_saved_model(spec, described.entrance, work)
        return saved_model_runner(work, spec)
    source.write_onnx(spec, described.entrance, work / ONNX_FILE)
    return onnx_runner(work / ONNX_FILE, spec)
