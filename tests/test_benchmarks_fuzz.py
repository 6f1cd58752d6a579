"""The fuzzer exits with 0 without findings, keeps new inputs, and reports a decoder that breaks its contract."""

from functools import partial
from random import Random

from typer.testing import CliRunner

from app.errors import InvalidInput
from benchmarks import cli, results
from benchmarks.fuzzing.run import Tally, Worker
from benchmarks.fuzzing.targets import Target, make_targets

# Messages of ours and of Triton's client, which other tests use, exclude one another in a process.
ALL_BUT_GRPC = partial(make_targets, grpc=False)


def fuzz(monkeypatch, tmp_path, *arguments, targets=ALL_BUT_GRPC):
    monkeypatch.setattr("benchmarks.fuzzing.run.make_targets", targets)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    return CliRunner().invoke(cli.cli, ["fuzz", "--corpus", str(tmp_path / "corpus"), *arguments])


def test_a_short_run_finds_nothing_and_fills_its_corpus(monkeypatch, tmp_path):
    result = fuzz(monkeypatch, tmp_path, "--executions", "2000")
    assert result.exit_code == 0
    assert "2,000 executions" in result.stdout
    assert not (tmp_path / "corpus" / "findings").exists()
    assert len(list((tmp_path / "corpus" / "v2-json").iterdir())) > 1


def test_a_finding_is_reported_with_its_input_and_the_exit_code_is_1(monkeypatch, tmp_path):
    def decode(data):
        if b"9" in data:
            raise KeyError("a decoder that forgot something")
        raise InvalidInput("refused")

    broken = Target("broken", [b"[1, 9]"], decode)
    result = fuzz(monkeypatch, tmp_path, "--executions", "200", targets=lambda place: [broken])
    assert result.exit_code == 1
    assert "finding: broken: KeyError at test_benchmarks_fuzz.py:" in result.output
    [data] = (tmp_path / "corpus" / "findings").glob("broken-*[!t]")
    assert b"9" in data.read_bytes()
    assert "a decoder that forgot something" in data.with_suffix(".txt").read_text()


def test_inputs_of_the_corpus_are_seeds_again(tmp_path):
    def decode(data):
        raise InvalidInput("".join(chr(97 + byte % 5) for byte in data[:2]))

    target = Target("letters", [b"\0\0"], decode)
    first = Tally()
    Worker(target, tmp_path, first).run(500, Random(0))
    again = Tally()
    Worker(target, tmp_path, again).run(0, Random(0))
    assert again.kept == first.kept > 5
