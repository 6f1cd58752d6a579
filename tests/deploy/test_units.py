"""compose.yaml and the unit of systemd, as far as they can be checked without a daemon."""

import re
import shutil
import subprocess

import pytest
import yaml

from app.settings import Settings
from tests.support.service import ROOT

COMPOSE, VOLUMES = (yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())[key] for key in ("services", "volumes"))
UNIT = ROOT / "deploy/systemd/atelier.service"
DEFAULTS = Settings()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IN_IMAGE = dict(re.findall(r"(ATELIER_\w+)=(\S+)", DOCKERFILE))
MARGIN_S = 5


def test_what_compose_mounts_exists():
    mounts = [mount.split(":")[0] for service in COMPOSE.values() for mount in service["volumes"]]
    assert mounts
    for mount in mounts:
        assert mount in VOLUMES or (ROOT / "deploy" / mount).exists(), mount
    assert (ROOT / "deploy" / COMPOSE["atelier"]["build"] / "Dockerfile").is_file()


def test_prometheus_of_compose_scrapes_the_service_and_grafana_asks_prometheus():
    text = (ROOT / "deploy/prometheus/prometheus.yml").read_text()
    for address, place in ((f"127.0.0.1:{DEFAULTS.port}", "atelier"), ("127.0.0.1:9093", "alertmanager")):
        assert text.count(address) == 1
        text = text.replace(address, f"{place}:{address.rpartition(':')[2]}")
        assert place in COMPOSE
    assert yaml.safe_load((ROOT / "deploy/prometheus/compose.yml").read_text()) == yaml.safe_load(text)
    [source] = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/atelier.yml").read_text())["datasources"]
    assert source["url"] == "${PROMETHEUS_URL}"
    assert COMPOSE["grafana"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/atelier.yml").read_text())["providers"]
    assert any(mount.split(":")[1] == provider["options"]["path"] for mount in COMPOSE["grafana"]["volumes"])


def test_both_wait_for_the_drain():
    drain_s = DEFAULTS.shutdown_timeout_s
    assert int(COMPOSE["atelier"]["stop_grace_period"].rstrip("s")) >= (
        float(IN_IMAGE["ATELIER_DRAIN_DELAY_S"]) + drain_s + MARGIN_S
    )
    assert int(re.search(r"(?m)^TimeoutStopSec=(\d+)", UNIT.read_text())[1]) >= drain_s + MARGIN_S


@pytest.mark.skipif(
    not shutil.which("docker-compose"), reason="docker-compose is not installed (Debian package docker-compose)"
)
def test_compose_reads_its_file_and_no_other(tmp_path):
    def config(path):
        command = ["docker-compose", "-f", str(path), "config"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    read = config(ROOT / "deploy/compose.yaml")
    assert read.returncode == 0, read.stderr
    assert yaml.safe_load(read.stdout)["services"].keys() == COMPOSE.keys()
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text((ROOT / "deploy/compose.yaml").read_text().replace("read_only:", "readonly:"))
    assert "Unsupported config option for services.atelier: 'readonly'" in config(misspelt).stderr


def test_the_image_of_compose_is_the_last_stage_and_has_its_port_and_models():
    [stage] = re.findall(r"(?ms)^FROM \S+ AS (\w+)$", DOCKERFILE)[-1:]
    assert stage == "cpu"
    assert isinstance(COMPOSE["atelier"]["build"], str)  # no other target
    assert f"EXPOSE {DEFAULTS.port}\n" in DOCKERFILE
    [directory] = re.findall(r"(?m)^WORKDIR (\S+)\nCOPY models models$", DOCKERFILE)
    state = COMPOSE["atelier"]["environment"]["ATELIER_STATE_DIR"]
    assert COMPOSE["atelier"]["volumes"] == [f"../models:{directory}/models:ro", f"state:{state}"]
    assert f"RUN install -d -o 10001 -g 10001 {state}\n" in DOCKERFILE


@pytest.mark.skipif(
    not shutil.which("amtool"), reason="amtool is not installed (Debian package prometheus-alertmanager)"
)
def test_who_is_told_of_an_alert_is_stated_without_a_mistake():
    file = str(ROOT / "deploy/alertmanager/alertmanager.yml")
    result = subprocess.run(["amtool", "check-config", file], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    for severity, receiver in (("page", "on-call"), ("ticket", "tickets"), ("info", "nobody")):
        command = ["amtool", "config", "routes", "test", f"--config.file={file}", f"severity={severity}"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == receiver


def test_the_locks_of_images_without_a_gpu_have_the_build_for_the_cpu(tmp_path):
    """The command of the Dockerfile, run on the locks."""
    [command] = re.findall(r"(?s)RUN (mkdir cpu .*?done)\n", DOCKERFILE)
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    subprocess.run(["sh", "-ec", command.replace("\\\n", "")], cwd=tmp_path, check=True)
    for name in ("serve", "remote", "savedmodel", "train"):
        before, after = ((tmp_path / place / f"{name}.txt").read_text() for place in ("requirements", "cpu"))
        packages = [re.findall(r"(?m)^([\w.\[\]-]+)==", text) for text in (before, after)]
        assert packages[1] == [package for package in packages[0] if package != "onnxruntime-gpu"]
        assert re.search(r"(?m)^onnxruntime==[\d.]+ \\\n    --hash=", after)


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (Debian package systemd)"
)
def test_the_unit_is_hardened():
    """Exposure of at most 2.0, on systemd's scale from 0 to 10."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(UNIT)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed (Debian package systemd)"
)
def test_the_unit_has_no_mistake_but_the_place_of_this_installation(tmp_path):
    text = UNIT.read_text().replace("/opt/atelier/.venv/bin/python", "/bin/true").replace("/opt/atelier", "/")
    (tmp_path / "atelier.service").write_text(text)
    command = ["systemd-analyze", "verify", str(tmp_path / "atelier.service")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
