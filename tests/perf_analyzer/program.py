"""Runs perf_analyzer, and reads what it and the service say of it."""

import csv
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.perf_analyzer.modes import GRPC, HTTP, PROTOCOLS, STREAM, TFSERVING, Mode
from tests.support.service import Service

REFUSED = 99  # what the program ends with if the service refuses something
LIMIT_S = 60
FAULT = re.compile(r"\b(error|failed)\b", re.IGNORECASE)
# What it says on a machine so busy that its windows are too short, which is no fault of the service.
BUSY = ("No valid requests recorded within time interval", "Failed to obtain stable measurement")
WINDOWS_MS = (70, 1_000)  # the second if the first is too short
# Three windows are called stable if the best is at most ten times the worst: nothing is measured here.
SHORT = "--stability-percentage 900 --max-trials 20"
OPTIONS = {
    HTTP: "-i http -u ADDRESS",
    GRPC: "-i grpc -u GRPC",
    STREAM: "-i grpc -u GRPC --streaming",
    TFSERVING: "-i grpc -u GRPC --service-kind tfserving",
}


class Program:
    """An installed perf_analyzer.

    Args:
        environment: directory of the virtual environment with the program and the CUDA runtime that it is linked to.
        place: directory for its reports.
        files: directory of the input files.
        key: an API key of the encrypted service.
    """

    def __init__(self, environment: Path, *, place: Path, files: Path, key: str) -> None:
        [libraries] = environment.glob("lib/python3*/site-packages/nvidia/cuda_runtime/lib")
        self._program = environment / "bin" / "perf_analyzer"
        self._variables = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
        self._report = place / "report.csv"
        self._words = {"FILES": str(files), "PLACE": str(place), "KEY": key}

    def fault(self) -> str:
        """Why the program does not start; "" if it does."""
        done = self._run(["--version"])
        return "" if done.returncode == 0 else done.stdout

    def found(self, mode: Mode, over: str, service: Service) -> str:
        """What is wrong with a run; "" if all is as it must be."""
        self._report.unlink(missing_ok=True)
        before = _answers(service, over)
        options = f"-m {mode.model} -f PLACE/report.csv {SHORT} {OPTIONS[over]} {mode.options}"
        if over == TFSERVING and "-b " not in mode.options:
            options += " -b 1"  # without it the shape includes the batch
        arguments = [self._filled(word, service) for word in options.split()]
        for window_ms in WINDOWS_MS:
            done = self._run([*arguments, "--measurement-interval", str(window_ms)])
            if not any(text in done.stdout for text in BUSY):
                break
        answers = _answers(service, over) - before
        if mode.refusal:
            refused = done.returncode == REFUSED and mode.refusal in done.stdout
            return "" if refused else f"it should be refused with {mode.refusal!r}: {_told(done)}"
        if done.returncode or FAULT.search(done.stdout):
            return _told(done)
        rates = [float(row["Inferences/Second"]) for row in _rows(self._report)]
        if len(rates) < mode.loads or not all(rate > 0 for rate in rates):
            return f"{len(rates)} loads with {rates} inferences a second; expected {mode.loads}"
        reported = sum(map(int, re.findall(r"Request count: (\d+)", done.stdout)))
        if set(answers) != {"200"} or answers["200"] < reported:
            return f"{reported} requests are reported; the service counts by status code {dict(answers)}"
        return ""

    def _run(self, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
        command = ["timeout", str(LIMIT_S), self._program, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(command, env=self._variables, text=True, errors="replace", check=False, **pipes)

    def _filled(self, word: str, service: Service) -> str:
        grpc = re.search(r"gRPC listens on \S+:(\d+)", service.log)
        addresses = {"ADDRESS": service.url.removeprefix("http://"), "GRPC": f"localhost:{grpc[1]}" if grpc else ""}
        known = {**self._words, **addresses}
        return re.sub("|".join(known), lambda match: known[match[0]], word)


def _told(done: "subprocess.CompletedProcess[str]") -> str:
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    told = [line for line in lines if FAULT.search(line)] or lines[-3:]
    return f"exit status {done.returncode}: {' / '.join(told[:3])}"


def _rows(report: Path) -> list[dict[str, str]]:
    if not report.exists():
        return []
    with report.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _answers(service: Service, over: str) -> Counter[str]:
    """Status code -> how many inference requests of a protocol had it so far."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(service.client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == "atelier_requests_total" and sample.labels["protocol"] == PROTOCOLS[over]:
                found[sample.labels["code"]] += int(sample.value)
    return found
